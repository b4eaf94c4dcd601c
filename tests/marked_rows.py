"""Marks of the rows of `calibration_rows.scored_run`, and the config of a calibrated run."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from clear_pipeline.config import Config, build_config


def is_bad(row_id: str) -> bool:
    return (int(row_id.rpartition(":")[2]) - 1) % 3 == 0


def write(path: Path, ids: Iterable[str]) -> Path:
    lines = [f"{i},{'bad' if is_bad(i) else 'good'}" for i in ids]
    path.write_text("\n".join(["id,label", *lines]) + "\n")
    return path


def row_ids(rows: range) -> list[str]:
    return [f"rows.jsonl:{i}" for i in rows]


def config(calibration: Path | None = None, *assignments: str) -> Config:
    return build_config(
        preset="fast",
        stages=["score", "filter"],
        calibration=calibration,
        assignments=assignments,
    )
