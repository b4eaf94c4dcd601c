"""Comparing a run with an answer key: which planted faults did it catch, which did it miss?

A key is a CSV file `id,fault` beside the data (`data/demo` has `data/demo.key.csv`). It is read
only here, after a run has ended, and only to print.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from clear_pipeline.errors import UsageError
from clear_pipeline.remote import is_remote, local_path
from clear_pipeline.run import Run
from clear_pipeline.schema import Fate


@dataclass(frozen=True, slots=True)
class FaultCount:
    """How one kind of planted fault fared.

    Attributes:
        fault: Its name in the key.
        rows: Rows with this fault.
        caught: Rows among them that the export does not hold as they were.
        missed: Ids of the others.
    """

    fault: str
    rows: int
    caught: int
    missed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class KeyReport:
    """Faults by name, what became of the rows without a fault, and how many rows were not read."""

    faults: tuple[FaultCount, ...]
    good: int
    good_kept: int
    absent: int


def key_beside(data: str | Path) -> Path | None:
    """The answer key of a dataset of this machine, if it has one."""
    if is_remote(data):
        return None
    whole = local_path(data).resolve()  # "." has no name
    path = whole.parent / f"{whole.name}.key.csv"
    return path if path.is_file() else None


def compare(run: Run, key: Path) -> KeyReport:
    """Count caught and missed rows per fault.

    Raises:
        UsageError: The key has other columns, or none of its ids is in the run.
    """
    try:
        with key.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{key}: no answer key: {error}") from error
    if not rows or not all(
        set(row) == {"id", "fault"} and None not in row.values() for row in rows
    ):
        raise UsageError(f"{key}: expected rows of two columns, id,fault, and at least one")
    ledger = run.ledger(["id", "fate"]).to_pydict()
    fates = dict(zip(ledger["id"], ledger["fate"], strict=True))
    known = [row for row in rows if row["id"] in fates]
    if not known:
        raise UsageError(f"{key}: id {rows[0]['id']!r} is not in the run, nor is any other")
    by_fault: dict[str, list[str]] = {}
    for row in known:
        by_fault.setdefault(row["fault"], []).append(row["id"])
    good = by_fault.pop("", [])
    return KeyReport(
        faults=tuple(_count(fault, ids, fates) for fault, ids in sorted(by_fault.items())),
        good=len(good),
        good_kept=sum(fates[i] == Fate.KEPT for i in good),
        absent=len(rows) - len(known),
    )


def _count(fault: str, ids: list[str], fates: dict[str, str]) -> FaultCount:
    missed = tuple(i for i in ids if fates[i] == Fate.KEPT)
    return FaultCount(fault, len(ids), len(ids) - len(missed), missed)
