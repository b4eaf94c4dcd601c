"""Serve a GGUF file as an OpenAI-compatible endpoint, in the foreground, until interrupted.

    python benchmarks/serve.py MODEL.gguf --port 8099 --slots 8 --ctx 4096

Prints the base URL as its first line. Needs the extra `local` (xllamacpp).
"""

from __future__ import annotations

import argparse
import os
import signal
from pathlib import Path

import xllamacpp


def main() -> None:
    """Start the server and wait for SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("weights", type=Path)
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--slots", type=int, default=8, help="requests computed at once")
    parser.add_argument("--ctx", type=int, default=4096, help="context window of each slot")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    args = parser.parse_args()
    if not args.weights.is_file():
        parser.error(f"no such file: {args.weights}")

    params = xllamacpp.CommonParams()
    params.model.path = str(args.weights)
    params.model_alias = {args.weights.stem}
    params.port = args.port
    params.n_parallel = args.slots
    params.n_ctx = args.ctx * args.slots
    params.cpuparams.n_threads = args.threads
    params.verbosity = 0
    server = xllamacpp.Server(params)
    print(f"{server.listening_address}/v1", flush=True)
    signal.sigwait({signal.SIGINT, signal.SIGTERM})


if __name__ == "__main__":
    # Blocked before the server starts its threads, so that they inherit the mask.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    main()
