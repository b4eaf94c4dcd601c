"""The numeric parts of a row's confidence, each under a name of its own."""

from __future__ import annotations

from typing import Final, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

F64: TypeAlias = NDArray[np.float64]
Flags: TypeAlias = NDArray[np.bool_]

REFLECTIONS: Final = "reflections"
"""Column of `Score`: a map from the name of a wording to its score in [0, 1]."""

COLUMNS: Final = (
    "reflection",
    "consistency",
    "entailment",
    "exact_match",
    "likelihood",
    "logp_given_prompt",
    "logp_alone",
)
"""Parts that are columns by themselves. All but the log-probabilities (<= 0) are in [0, 1]."""


def parts(table: pa.Table) -> dict[str, F64]:
    """Every numeric part that the table has a column for.

    Args:
        table: Rows with the columns of `Score`, or a ledger.

    Returns:
        Per part one value per row, NaN where it was not computed: `reflection.<wording>` for each
        wording, by name, then those of `COLUMNS` that are there.
    """
    found: dict[str, F64] = {}
    if REFLECTIONS in table.column_names:
        maps = table[REFLECTIONS].combine_chunks()
        for name in sorted(pc.unique(maps.keys).to_pylist()):
            found[f"reflection.{name}"] = numbers(pc.map_lookup(maps, name, "first"))
    there = (name for name in COLUMNS if name in table.column_names)
    return found | {name: numbers(table[name]) for name in there}


def numbers(column: pa.Array | pa.ChunkedArray) -> F64:
    """A numeric column as float64, NaN for null."""
    values: F64 = np.asarray(column.cast(pa.float64()).to_numpy(zero_copy_only=False), np.float64)
    return values
