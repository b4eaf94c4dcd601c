"""Which rows of a run the ids of labels stand for."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

from clear_pipeline.errors import UsageError
from clear_pipeline.evaluate.labels import Labels, listed

Matched = Literal["source_id", "id"]


@dataclass(frozen=True, slots=True)
class Match:
    """Where the labels' ids stand in a run.

    Attributes:
        column: Which column of the ledger they are of.
        unknown: Ids that no row has.
        ambiguous: Ids that several rows have.
    """

    column: Matched
    unknown: tuple[str, ...]
    ambiguous: tuple[str, ...]


def match(ledger: pa.Table, labels: Labels) -> Match:
    """Whether the labels' ids are source ids or row ids: whichever matches more, else the former.

    Raises:
        UsageError: None is in the run; the message lists them.
    """
    counts: dict[Matched, Counter[str]] = {
        column: Counter(i for i in ledger[column].to_pylist() if i in labels.bad)
        for column in ("source_id", "id")
    }
    column: Matched = "id" if len(counts["id"]) > len(counts["source_id"]) else "source_id"
    found = counts[column]
    if not found:
        source_id, row_id = _first(ledger["source_id"]), _first(ledger["id"])
        has = f"the row id {row_id!r}"
        has += " and no source ids" if source_id is None else f" and the source id {source_id!r}"
        raise UsageError(
            f"none of the {len(labels.bad):,} labelled ids is in the run:\n{listed(labels.bad)}\n"
            f"The run has {has}; if such ids stand in another column, name it: --id"
        )
    return Match(
        column,
        unknown=tuple(i for i in labels.bad if i not in found),
        ambiguous=tuple(i for i, count in found.items() if count > 1),
    )


def _first(column: pa.ChunkedArray) -> str | None:
    known = column.drop_null()
    return str(known[0]) if len(known) else None
