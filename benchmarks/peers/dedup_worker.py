"""What the workers of `benchmarks/dedup.py` share: texts, shingles and the account of the cost.

    *_worker.py DATA OUT SCRATCH

A worker writes to OUT one 64-bit integer per row of DATA: the row that stays in its place, itself
if it stays; and to OUT.json what that took. It runs in the peers' own environment, so this file
imports nothing but the standard library.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import sys
import time
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.metadata import version
from pathlib import Path

COLUMN = "completion"
"""Where the text stands: words of a-z and 0-9 with one space between them."""
WORDS = 5
PERMUTATIONS = 128
THRESHOLD = 0.8
PROCESSES = len(os.sched_getaffinity(0))


def texts(path: Path) -> Iterator[str]:
    """The text of each row."""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)[COLUMN]


def shingles(text: str) -> list[str]:
    """Every run of `WORDS` words; a shorter text is one shingle."""
    words = text.split()
    return [" ".join(words[n : n + WORDS]) for n in range(max(1, len(words) - WORDS + 1))]


def blocks(path: Path, rows: int = 10_000) -> Iterator[list[list[str]]]:
    """The shingles of so many rows at a time, which bounds the memory that they take."""
    block: list[list[str]] = []
    for text in texts(path):
        block.append(shingles(text))
        if len(block) == rows:
            yield block
            block = []
    if block:
        yield block


def serve(
    find: Callable[[Path, Path], Iterable[int]],
    package: str,
    parts: Callable[[Path], Mapping[str, float]] = lambda _: {},
) -> None:
    """Find the rows that stay, and account for it: seconds from the first byte of DATA on.

    Args:
        find: From DATA and SCRATCH, an empty directory, to the row that stays for each row.
        package: Whose version is told.
        parts: From SCRATCH to `found_seconds`, so many of the seconds went by until the duplicates
            were known, and `stage_seconds`, so many of these on what a system has read and written
            by then; of a system that tells them apart.
    """
    data, out, scratch = map(Path, sys.argv[1:4])
    os.dup2(2, 1)  # what libraries print goes to stderr
    gc.collect()
    before, began = cpu_seconds(), time.perf_counter()
    kept = array("q", find(data, scratch))
    seconds, cpu = time.perf_counter() - began, cpu_seconds() - before
    with out.open("wb") as file:
        kept.tofile(file)
    took = {"seconds": seconds, "cpu_seconds": cpu, "cpu_before": before, "peak_mib": peak_mib()}
    told = {**took, **parts(scratch), "version": version(package)}
    out.with_suffix(".json").write_text(json.dumps(told), encoding="utf-8")


def cpu_seconds() -> float:
    """Of this process and the children that have ended."""
    used = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in used)


def peak_mib() -> float:
    """The most memory that this process has had resident. `ru_maxrss` counts the parent's too."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    (peak,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(peak.split()[1]) / 1024
