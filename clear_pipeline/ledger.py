"""The ledger: for every input row what became of it and why, and all that was computed for it.

This module alone decides fates. Times, latencies and the order of work stay out, so that a resumed
run writes the same bytes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from clear_pipeline.durable import write_atomically
from clear_pipeline.errors import DamagedRunError
from clear_pipeline.schema import ROWS, Fate
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
follow in the order in which the stages added them."""

_INPUT = ("id", "source_id", "file", "line", "format")
_DECISIVE = (
    "contaminated_by",
    "contamination_reason",
    "duplicate_of",
    "duplicate_kind",
    "similarity",
    "score_status",
    "score_error",
    "rectified",
    "rectify_reason",
    "keep",
    "filter_reason",
)
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
    columns = [name for name in _DECISIVE if name in table.column_names]
    rows = table.select(columns).to_pylist() if columns else [{}] * table.num_rows
    decided = [_fate(row) for row in rows]
    return [fate for fate, _ in decided], [reason for _, reason in decided]


def _fate(row: Mapping[str, Any]) -> tuple[Fate, str]:
    if row.get("contaminated_by") is not None:
        parts = (row["contaminated_by"], row.get("contamination_reason"))
        return Fate.CONTAMINATED, f"contaminated by {': '.join(filter(None, parts))}"
    if row.get("duplicate_of") is not None:
        return Fate.DUPLICATE, _duplicate_reason(row)
    if "score_status" in row and row["score_status"] != "scored":
        return Fate.UNSCORED, f"unscored: {row.get('score_error') or 'no score was recorded'}"
    said = [text for text in (row.get("rectify_reason"), row.get("filter_reason")) if text]
    why = "; ".join(said)
    if row.get("rectified"):
        return Fate.RECTIFIED, f"rectified: {why}"
    if row.get("keep") is False:
        return Fate.FILTERED, why
    unfiltered = "scored, not filtered" if "score_status" in row else "not scored"
    return Fate.KEPT, why or f"{unfiltered} in this run"


def _duplicate_reason(row: Mapping[str, Any]) -> str:
    kind = row.get("duplicate_kind") or "exact"
    similarity = row.get("similarity")
    detail = (
        kind if kind == "exact" or similarity is None else f"{kind}, similarity {similarity:.2f}"
    )
    return f"duplicate of {row['duplicate_of']} ({detail})"


def ledger_schema(rows: pa.Schema | None) -> pa.Schema:
    """Columns of the ledger of a run whose shards have the schema `rows`; None = no shards."""
    known = {*LEDGER.names, *_TOLD_OTHERWISE}
    extra = [] if rows is None else [field for field in rows if field.name not in known]
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
    tables: Iterable[pa.Table], quarantine: Sequence[Mapping[str, Any]]
) -> Iterator[pa.Table]:
    """The ledger in parts: one per shard, in order, then the quarantined rows, in order."""
    schema: pa.Schema | None = None
    for table in tables:
        schema = schema or ledger_schema(table.schema)
        yield ledger_part(table, schema)
    yield quarantine_part(quarantine, schema or ledger_schema(None))


def ledger_table(tables: Iterable[pa.Table], quarantine: Sequence[Mapping[str, Any]]) -> pa.Table:
    """The whole ledger in memory; see `write_ledger`."""
    return pa.concat_tables(ledger_parts(tables, quarantine))


def write_ledger(
    path: Path,
    tables: Iterable[pa.Table],
    quarantine: Sequence[Mapping[str, Any]],
    *,
    input_rows: int,
) -> dict[Fate, int]:
    """Write the ledger as Parquet, one shard in memory at a time; equal input, equal bytes.

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
    counts: Counter[str] = Counter()

    def write(temporary: Path) -> None:
        parts = ledger_parts(tables, quarantine)
        first = next(parts)
        with pq.ParquetWriter(temporary, first.schema, compression="zstd") as writer:
            for part in chain((first,), parts):
                writer.write_table(part)
        ledger = pq.read_table(temporary, columns=["id", "fate"])
        counts.update(assert_fates(ledger, input_rows))

    write_atomically(path, write)
    return {fate: counts[fate] for fate in Fate}


def assert_fates(ledger: pa.Table, input_rows: int) -> dict[Fate, int]:
    """Every input row has exactly one line with one known fate.

    Returns:
        Rows by fate, every fate in order of precedence; they sum to `input_rows`.

    Raises:
        DamagedRunError: A row is missing, stands twice, or has no known fate.
    """
    counts = Counter(ledger["fate"].to_pylist())
    if unknown := set(counts) - set(Fate):
        raise DamagedRunError(f"ledger: {unknown} is no fate; known are {', '.join(Fate)}")
    if counts.total() != input_rows:
        raise DamagedRunError(
            f"ledger: fates sum to {counts.total()}, but {input_rows} rows were read; "
            "run the same command again, or start anew with another --out"
        )
    distinct = pc.count_distinct(ledger["id"]).as_py()
    if distinct != ledger.num_rows:
        raise DamagedRunError(f"ledger: {ledger.num_rows - distinct} rows stand in it twice")
    return {fate: counts[fate] for fate in Fate}
