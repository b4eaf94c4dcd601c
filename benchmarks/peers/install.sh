#!/usr/bin/env bash
# The peers of benchmarks/confidence.py and benchmarks/dedup.py, in environments of their own: they
# need other versions of the same libraries.
#     benchmarks/peers/install.sh PEERS [tlm] [uqlm] [dedup]
set -euo pipefail

install() {
    python3 -m venv "$1"
    "$1/bin/pip" install "${@:2}"
}

peers=$1
shift
[ $# -gt 0 ] || set -- tlm uqlm dedup
mkdir -p "$peers"
for peer in "$@"; do
    case $peer in
        tlm) install "$peers/tlm" 'trustworthy-llm==0.0.3' ;;
        # uqlm asks for numpy 1, which newer pyarrow refuses.
        uqlm) install "$peers/uqlm" 'uqlm==0.6.7' 'langchain-openai>=1' 'pyarrow<22' ;;
        # What datatrove imports without asking for it, in versions that it can use.
        dedup) install "$peers/dedup" 'datasketch==2.0.0' 'rensa==0.5.0' 'text-dedup==0.4.0' \
            'datatrove==0.10.1' tokenizers 'xxhash<4' orjson ;;
        *)
            echo "no such peer: $peer" >&2
            exit 2
            ;;
    esac
done
