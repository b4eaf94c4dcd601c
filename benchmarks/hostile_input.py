"""Memory and time of reading one endless line: `python -m benchmarks.hostile_input --mib 2048`.

Writes JSONL with two good rows around one line of so many MiB, plain, as gzip or as one JSON array,
loads it and prints what the rows became, the seconds, and how much the peak memory grew.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import resource
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from clear_pipeline.load import LoadedShard, LoadSettings, Problem, Quarantined, Skipped, discover

GOOD = b'{"instruction": "Q?", "output": "A"}'
MIB = 1 << 20
KINDS = ("jsonl", "jsonl.gz", "json")


def pieces(kind: str, mib: int) -> Iterator[bytes]:
    """The file: a good row, a row of so many MiB, a good row."""
    first, between, last = (b"[", b",\n", b"]") if kind == "json" else (b"", b"\n", b"\n")
    yield first + GOOD + between + b'{"instruction": "'
    for number in range(mib):
        yield random.Random(number).randbytes(MIB // 2).hex().encode()
    yield b'", "output": "A"}' + between + GOOD + last


def write(path: Path, kind: str, mib: int) -> None:
    """Write the file, compressed if its kind says so."""
    if kind.endswith(".gz"):
        with gzip.open(path, "wb", compresslevel=1) as zipped:
            zipped.writelines(pieces(kind, mib))
    else:
        with path.open("wb") as plain:
            plain.writelines(pieces(kind, mib))


def read(path: Path) -> dict[str, Any]:
    """What loading the file came to, with the growth of the peak memory in MiB."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.monotonic()
    rows, reasons = 0, []
    for event in discover(path).inputs[0].load(LoadSettings()):
        if isinstance(event, LoadedShard):
            rows += event.table.num_rows
        elif isinstance(event, Quarantined | Problem | Skipped):
            reasons.append(event.reason)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds = round(time.monotonic() - began, 1)
    return {"rows": rows, "reasons": reasons, "seconds": seconds, "grew_mib": (peak - before) >> 10}


def main() -> None:
    """Write, read, print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mib", type=int, default=2048, help="length of the line")
    parser.add_argument("--kind", choices=KINDS, default="jsonl")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"rows.{asked.kind}"
        write(path, asked.kind, asked.mib)
        print(json.dumps({"kind": asked.kind, "mib": asked.mib, **read(path)}))


if __name__ == "__main__":
    main()
