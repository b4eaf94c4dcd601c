"""A coverage-guided fuzzer over what strangers can send: `python -m benchmarks.fuzz TARGET`.

Needs `pip install atheris`. Runs until the time is up or a promise is broken; then the input lies
in the working directory as `crash-*` (`timeout-*` for a hang) and its traceback is printed.
Targets: load, formats, prompts, replies, export (see `fuzz_targets.py`).
"""

from __future__ import annotations

import argparse
import atexit
import json
import shutil
import sys
import tempfile
from pathlib import Path

import atheris

HANG_SECONDS = 20
MEMORY_MB = 2048
MAX_BYTES = 4096
DEMO = Path(__file__).parents[1] / "data" / "demo"


def seeds(folder: Path, target: str) -> None:
    """Inputs to start from: malformed files, rows of every format, replies of a server."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from malformed import CASES

    lines = [
        line for path in sorted(DEMO.glob("*.jsonl")) for line in path.read_bytes().splitlines()[:6]
    ]
    found = [case.content[:MAX_BYTES] for case in CASES] + lines
    if target == "load":
        found = [bytes([number % 6]) + data for number, data in enumerate(found)]
    if target == "export":
        found += [b"\n".join(lines[at : at + 4]) for at in range(0, len(lines), 4)]
    if target == "replies":
        message = {"role": "assistant", "content": "<think>a</think>Yes", "tool_calls": []}
        token = {"token": "Yes", "logprob": -0.1, "top_logprobs": [{"token": "No", "logprob": -2}]}
        choice = {"index": 0, "message": message, "logprobs": {"content": [token]}}
        reply = {"choices": [choice] * 2, "model": "m", "usage": {"prompt_tokens": 3}}
        found += [json.dumps(reply).encode(), b'{"data": [{"embedding": [1, 0.5]}]}']
        found += [b"A > B", b"FINAL RESPONSE: 7", b'{"choice": "A"}', b"$1,000.00 | 1000 dollars"]
    for number, data in enumerate(found):
        (folder / str(number)).write_bytes(data)


def main() -> None:
    """Fuzz one target for the given time."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target")
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--runs", type=int, default=-1, help="stop after so many inputs")
    asked = parser.parse_args()
    with atheris.instrument_imports(include=["clear_pipeline"]):
        from benchmarks.fuzz_targets import TARGETS
    corpus = Path(tempfile.mkdtemp())
    seeds(corpus, asked.target)
    options = [
        f"-max_total_time={round(60 * asked.minutes)}", f"-runs={asked.runs}",
        f"-timeout={HANG_SECONDS}", f"-rss_limit_mb={MEMORY_MB}", f"-max_len={MAX_BYTES}",
        "-print_final_stats=1", str(corpus),
    ]  # fmt: skip
    atheris.Setup([sys.argv[0], *options], TARGETS[asked.target])
    atexit.register(shutil.rmtree, corpus, ignore_errors=True)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
