"""Which score of a row counts: the most refined one that a run has computed."""

from __future__ import annotations

from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

REFINED: Final = ("calibrated", "cascaded", "confidence")
"""Columns that say how trustworthy a response is, the most refined first."""


def final_confidence(table: pa.Table) -> pa.ChunkedArray:
    """The score that filter, ledger and report go by, in [0, 1], null for unscored rows.

    `calibrated` wins as a whole column, since it has a scale of its own; else each row has the
    first of the others that is not null.
    """
    there = [name for name in REFINED if name in table.column_names]
    if there[0] == "calibrated":
        return table["calibrated"]
    return pc.coalesce(*(table[name] for name in there))
