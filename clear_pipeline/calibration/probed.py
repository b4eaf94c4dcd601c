"""Reading what a probe scored: originals and their corruptions, with the parts of their scores."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from clear_pipeline.calibration.file import ScoredBy
from clear_pipeline.errors import UsageError
from clear_pipeline.scoring.parts import F64, parts

SCORED_BY = b"scored_by"
"""Key of the Parquet metadata with a `ScoredBy` as JSON."""


@dataclass(frozen=True, slots=True)
class Probed:
    """Scored rows of a probe: `corruption` is None for an original."""

    parts: dict[str, F64]
    corruption: list[str | None]
    original_id: list[str]
    scored_by: ScoredBy | None


def read_probed(path: Path) -> Probed:
    """Read `probe.parquet`; rows that could not be scored are left out.

    Raises:
        UsageError: It cannot be read or has no columns `corruption` and `original_id`.
    """
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise UsageError(
            f"{path}: no run directory and no probe file ({str(error).splitlines()[0]})"
        ) from error
    if missing := {"corruption", "original_id", "score_status"} - set(table.column_names):
        raise UsageError(f"{path}: no probe file, it lacks {', '.join(sorted(missing))}")
    table = table.filter(pc.equal(table["score_status"], "scored"))
    metadata = table.schema.metadata or {}
    known = metadata.get(SCORED_BY)
    return Probed(
        parts=parts(table),
        corruption=table["corruption"].to_pylist(),
        original_id=table["original_id"].to_pylist(),
        scored_by=None if known is None else ScoredBy.model_validate(json.loads(known)),
    )
