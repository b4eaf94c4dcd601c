"""The ledger: for every input row what became of it and why, and all that was computed for it.

This module alone decides fates. Times, latencies and the order of work stay out, so that a resumed
run writes the same bytes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice, repeat
from pathlib import Path
from typing import Any, Final, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from clear_pipeline.durable import write_atomically
from clear_pipeline.errors import DamagedRunError
from clear_pipeline.parquet_rows import parquet_batches
from clear_pipeline.repeats import Repeats
from clear_pipeline.schema import ROWS, Fate, is_working
from clear_pipeline.stages.confidence import final_confidence

LEDGER = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("source_id", pa.string()),
        pa.field("file", pa.string(), nullable=False),
        pa.field("line", pa.int64(), nullable=False),
        pa.field("format", pa.string()),
        pa.field("fate", pa.string(), nullable=False),
        pa.field("reason", pa.large_string(), nullable=False),
        pa.field("confidence", pa.float64()),
        pa.field("contaminated_by", pa.string()),
        pa.field("contamination", pa.float64()),
        pa.field("duplicate_of", pa.string()),
        pa.field("duplicate_kind", pa.string()),
        pa.field("cluster", pa.string()),
        pa.field("similarity", pa.float64()),
        pa.field("score_status", pa.string()),
        pa.field("score_error", pa.large_string()),
        pa.field("keep", pa.bool_()),
        pa.field("threshold", pa.float64()),
        pa.field("candidate", pa.large_string()),
        pa.field("preference", pa.float64()),
        pa.field("preference_first", pa.float64()),
        pa.field("preference_second", pa.float64()),
        pa.field("verdict", pa.string()),
        pa.field("rectified", pa.bool_()),
        pa.field("rectify_reason", pa.large_string()),
    ]
)
"""Columns of every ledger, null where their stage did not run. `confidence` is the one that counts,
see `final_confidence`. Further columns that a stage added, such as the parts of the confidence,
follow in the order in which the stages added them, but for those that are `schema.working`."""

_INPUT = ("id", "source_id", "file", "line", "format")
ROWS_PER_GROUP: Final = 10_000
"""Of the Parquet file, whatever the shards were: many small groups would cost more than rows."""
_TOLD_OTHERWISE = {*ROWS.names, "contamination_reason", "filter_reason", "new_target"}
"""Not copied: texts that stand in the row shards, and what `reason` and `candidate` repeat."""


def fates(table: pa.Table) -> tuple[list[Fate], list[str]]:
    """What became of each row of a shard, and why; the first fate in the order of `Fate` wins.

    Args:
        table: `ROWS` with the columns of the stages that ran.

    Returns:
        Fates and reasons in row order. `QUARANTINED` is not among them: such rows never reach
        a shard. A row is rectified, filtered or kept exactly if `stages.base.alive_rows` says
        that it is alive.
    """
    columns = [
        table[name].to_pylist() if name in table.column_names else repeat(None, table.num_rows)
        for name in _Decisive._fields
    ]
    scored = "score_status" in table.column_names
    decided = [
        _fate(row, scored=scored) for row in map(_Decisive._make, zip(*columns, strict=True))
    ]
    return [fate for fate, _ in decided], [reason for _, reason in decided]


class _Decisive(NamedTuple):
    """The columns of a row that its fate hangs on; None where their stage did not run."""

    contaminated_by: str | None
    contamination_reason: str | None
    duplicate_of: str | None
    duplicate_kind: str | None
    similarity: float | None
    score_status: str | None
    score_error: str | None
    rectified: bool | None
    rectify_reason: str | None
    keep: bool | None
    filter_reason: str | None


def _fate(row: _Decisive, *, scored: bool) -> tuple[Fate, str]:
    if row.contaminated_by is not None:
        parts = (row.contaminated_by, row.contamination_reason)
        return Fate.CONTAMINATED, f"contaminated by {': '.join(filter(None, parts))}"
    if row.duplicate_of is not None:
        return Fate.DUPLICATE, _duplicate_reason(row)
    if scored and row.score_status != "scored":
        return Fate.UNSCORED, f"unscored: {row.score_error or 'no score was recorded'}"
    why = "; ".join(text for text in (row.rectify_reason, row.filter_reason) if text)
    if row.rectified:
        return Fate.RECTIFIED, f"rectified: {why}"
    if row.keep is False:
        return Fate.FILTERED, why
    unfiltered = "scored, not filtered" if scored else "not scored"
    return Fate.KEPT, why or f"{unfiltered} in this run"


def _duplicate_reason(row: _Decisive) -> str:
    kind = row.duplicate_kind or "exact"
    detail = (
        kind
        if kind == "exact" or row.similarity is None
        else f"{kind}, similarity {row.similarity:.2f}"
    )
    return f"duplicate of {row.duplicate_of} ({detail})"


def ledger_schema(rows: pa.Schema | None) -> pa.Schema:
    """Columns of the ledger of a run whose shards have the schema `rows`; None = no shards."""
    known = {*LEDGER.names, *_TOLD_OTHERWISE}
    extra = [f for f in rows or () if f.name not in known and not is_working(f)]
    return pa.schema([*LEDGER, *(field.with_nullable(True).remove_metadata() for field in extra)])


def ledger_part(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The ledger's lines for one shard."""
    fate, reason = fates(table)
    made = {
        "fate": pa.array(fate, pa.string()),
        "reason": pa.array(reason, pa.large_string()),
        "confidence": final_confidence(table),
    }
    there = set(table.column_names)
    columns = [
        made[field.name]
        if field.name in made
        else table[field.name].cast(field.type)
        if field.name in there
        else pa.nulls(table.num_rows, field.type)
        for field in schema
    ]
    return pa.table(columns, schema=schema)


def quarantine_part(entries: Sequence[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    """The ledger's lines for rows that could not be used: id, file, line, reason."""
    lines = [
        {
            **{name: entry.get(name) for name in _INPUT},
            "fate": Fate.QUARANTINED,
            "reason": f"quarantined: {entry['reason']}",
        }
        for entry in entries
    ]
    return pa.Table.from_pylist(lines, schema=schema)


def ledger_parts(
    tables: Iterable[pa.Table], quarantine: Iterable[Mapping[str, Any]]
) -> Iterator[pa.Table]:
    """The ledger in parts: one per shard, in order, then the quarantined rows, in order."""
    schema: pa.Schema | None = None
    for table in tables:
        schema = schema or ledger_schema(table.schema)
        yield ledger_part(table, schema)
    schema, rest = schema or ledger_schema(None), iter(quarantine)
    while entries := list(islice(rest, ROWS_PER_GROUP)):
        yield quarantine_part(entries, schema)
    yield quarantine_part((), schema)  # where there is no row at all: the columns


def ledger_table(tables: Iterable[pa.Table], quarantine: Iterable[Mapping[str, Any]]) -> pa.Table:
    """The whole ledger in memory; see `write_ledger`."""
    return pa.concat_tables(ledger_parts(tables, quarantine))


def write_ledger(
    path: Path,
    tables: Iterable[pa.Table],
    quarantine: Iterable[Mapping[str, Any]],
    *,
    input_rows: int,
) -> dict[Fate, int]:
    """Write the ledger as Parquet, `ROWS_PER_GROUP` rows in memory at a time.

    Equal rows give equal bytes, however they were cut into shards.

    Args:
        path: Where; appears only when it is complete and its fates were checked.
        tables: Row shards with all stage columns, in input order, all of one schema.
        quarantine: Entries of `quarantine.jsonl`: id, file, line, reason.
        input_rows: Rows that were read, quarantined ones included.

    Returns:
        Rows by fate, every fate in order of precedence, zeros included.

    Raises:
        DamagedRunError: See `assert_fates`.
    """
    counts: dict[Fate, int] = {}

    def write(temporary: Path) -> None:
        parts = ledger_parts(tables, quarantine)
        first = next(parts)
        with pq.ParquetWriter(temporary, first.schema, compression="zstd") as writer:
            for group in _regrouped(chain((first,), parts)):
                writer.write_table(group)
        written = parquet_batches(temporary, ["id", "fate"], rows=ROWS_PER_GROUP)
        counts.update(assert_fates(written, input_rows))

    write_atomically(path, write)
    return counts


def _regrouped(parts: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The same rows in tables of `ROWS_PER_GROUP`, the last one of what is left."""
    waiting: list[pa.Table] = []
    rows = 0
    for part in parts:
        waiting.append(part)
        rows += part.num_rows
        while rows >= ROWS_PER_GROUP:
            whole = pa.concat_tables(waiting)
            yield whole.slice(0, ROWS_PER_GROUP).combine_chunks()
            waiting, rows = [whole.slice(ROWS_PER_GROUP)], rows - ROWS_PER_GROUP
    if rows:
        yield pa.concat_tables(waiting).combine_chunks()


def assert_fates(parts: Iterable[pa.Table | pa.RecordBatch], input_rows: int) -> dict[Fate, int]:
    """Every input row has exactly one line with one known fate.

    Args:
        parts: Of a ledger; `id` and `fate` are looked at, one part in memory at a time.
        input_rows: Rows that were read.

    Returns:
        Rows by fate, every fate in order of precedence; they sum to `input_rows`.

    Raises:
        DamagedRunError: A row is missing, stands twice, or has no known fate.
    """
    counts: Counter[str] = Counter()
    ids = Repeats()
    for part in parts:
        counts.update(part["fate"].to_pylist())
        ids.add(part["id"])
    if unknown := set(counts) - set(Fate):
        raise DamagedRunError(f"ledger: {unknown} is no fate; known are {', '.join(Fate)}")
    if counts.total() != input_rows:
        raise DamagedRunError(
            f"ledger: fates sum to {counts.total()}, but {input_rows} rows were read; "
            "run the same command again, or start anew with another --out"
        )
    if twice := ids.found().size:
        raise DamagedRunError(f"ledger: {twice} rows stand in it twice")
    return {fate: counts[fate] for fate in Fate}
