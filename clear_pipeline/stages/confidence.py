"""Which confidence counts: the most refined one that the stages have computed."""

from __future__ import annotations

from typing import Final, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

REFINED: Final = ("calibrated", "cascaded", "confidence")
"""Columns of a row's confidence, the most refined first. A stage that refines adds its own column
and leaves the others as they are."""

Key: TypeAlias = tuple[float, str, str]
"""(confidence, content hash, id): larger is kept first; total, since ids are distinct."""


def final_confidence(table: pa.Table) -> pa.ChunkedArray:
    """The confidence that filter, ledger, export and reports go by.

    A calibration counts for all rows or for none, since its scale is its own. A row that the
    cascade did not reach has its `confidence`.

    Args:
        table: Rows with the columns of the stages that ran.

    Returns:
        One float64 in [0, 1] per row, null where there is none.
    """
    there = [table[name] for name in REFINED if name in table.column_names]
    if not there:
        return pa.chunked_array([pa.nulls(table.num_rows, pa.float64())])
    return there[0] if "calibrated" in table.column_names else pc.coalesce(*there)


def rank_keys(table: pa.Table, confidence: pa.ChunkedArray) -> list[Key]:
    """One key per row, by which rows are ranked; the confidence of some may be None."""
    names = ("content_hash", "id")
    columns = (confidence.to_pylist(), *(table[name].to_pylist() for name in names))
    return list(zip(*columns, strict=True))
