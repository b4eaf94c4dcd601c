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
        labels: The labels by ids as the ledger has them.
        unknown: Ids that no row has.
        ambiguous: Ids that several rows have.
    """

    column: Matched
    labels: Labels
    unknown: tuple[str, ...]
    ambiguous: tuple[str, ...]


def match(ledger: pa.Table, labels: Labels) -> Match:
    """Whether the labels' ids are source ids or row ids: whichever matches more, else the former.

    An id that no row has as it stands in the file is looked for without the white space at its
    ends.

    Raises:
        UsageError: None is in the run; the message lists them. Or without such white space an id
            has two labels or two weights.
    """
    by_source, by_row = (_found(ledger[column], labels) for column in ("source_id", "id"))
    column: Matched = "id" if len(by_row[1]) > len(by_source[1]) else "source_id"
    own, found = by_row if column == "id" else by_source
    if not found:
        source_id, row_id = _first(ledger["source_id"]), _first(ledger["id"])
        has = f"the row id {row_id!r}"
        has += " and no source ids" if source_id is None else f" and the source id {source_id!r}"
        raise UsageError(
            f"none of the {len(labels.bad):,} labelled ids is in the run:\n{listed(labels.bad)}\n"
            f"The run has {has}; if such ids stand in another column, name it: --id"
        )
    named = labels.renamed(own)
    return Match(
        column,
        named,
        unknown=tuple(i for i in named.bad if i not in found),
        ambiguous=tuple(i for i, count in found.items() if count > 1),
    )


def _found(column: pa.ChunkedArray, labels: Labels) -> tuple[dict[str, str], Counter[str]]:
    """What the column calls each labelled id, and how many rows have each of those it knows."""
    wanted = {name for i in labels.bad for name in (i, i.strip())}
    known = Counter(i for i in column.to_pylist() if i in wanted)
    own = {i: i if i in known else i.strip() for i in labels.bad}
    return own, Counter({i: known[i] for i in own.values() if i in known})


def _first(column: pa.ChunkedArray) -> str | None:
    known = column.drop_null()
    return str(known[0]) if len(known) else None
