"""Reading what a probe scored: originals and their corruptions, with the parts of their scores."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from clear_pipeline.errors import UsageError
from clear_pipeline.scoring.parts import F64, parts
from clear_pipeline.scoring.scored_by import SCORED_BY, ScoredBy


@dataclass(frozen=True, slots=True)
class Probed:
    """Scored rows of a probe: `corruption` is None for an original."""

    parts: dict[str, F64]
    corruption: list[str | None]
    original_id: list[str]
    scored_by: ScoredBy | None


def read_probed(path: Path, *, preset: str | None = None) -> Probed:
    """Read `probe.parquet`; rows that could not be scored are left out.

    Args:
        path: The file.
        preset: Whose scores are read; may be left out where the probe had one.

    Raises:
        UsageError: It cannot be read, lacks a column, or `preset` names none of its presets.
    """
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise UsageError(
            f"{path}: no run directory and no probe file ({str(error).splitlines()[0]})"
        ) from error
    if missing := {"corruption", "original_id", "preset", "score_status"} - set(table.column_names):
        raise UsageError(f"{path}: no probe file, it lacks {', '.join(sorted(missing))}")
    preset = _chosen(preset, sorted(pc.unique(table["preset"]).to_pylist()), path)
    scored = pc.equal(table["score_status"], "scored")
    table = table.filter(pc.and_(scored, pc.equal(table["preset"], preset)))
    known = json.loads((table.schema.metadata or {}).get(SCORED_BY, b"{}")).get(preset)
    return Probed(
        parts=parts(table),
        corruption=table["corruption"].to_pylist(),
        original_id=table["original_id"].to_pylist(),
        scored_by=None if known is None else ScoredBy.model_validate(known),
    )


def _chosen(preset: str | None, there: list[str], path: Path) -> str:
    if preset in there:
        return preset
    if preset is None and len(there) == 1:
        return there[0]
    raise UsageError(f"{path} has scores by {', '.join(there)}; name one: --preset {there[-1]}")
