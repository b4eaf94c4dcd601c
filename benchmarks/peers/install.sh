#!/usr/bin/env bash
# The peers of benchmarks/confidence.py, each in an environment of its own: they need different
# versions of the same libraries.
#     benchmarks/peers/install.sh PEERS
set -euo pipefail

install() {
    python3 -m venv "$1"
    "$1/bin/pip" install "${@:2}"
}

mkdir -p "$1"
install "$1/tlm" 'trustworthy-llm==0.0.3'
# uqlm asks for numpy 1, which newer pyarrow refuses.
install "$1/uqlm" 'uqlm==0.6.7' 'langchain-openai>=1' 'pyarrow<22'
