"""The training files that a run exports, in the one format of trainers."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import pyarrow as pa

from clear_pipeline.config import build_config
from clear_pipeline.durable import TEMPORARY
from clear_pipeline.export import move_export
from clear_pipeline.finetune import TrainingData
from clear_pipeline.outputs import export_run
from clear_pipeline.run import Run
from clear_pipeline.store import CONFIG

_TRAIN: Final = "train.jsonl"
_VALID: Final = "valid.jsonl"


@dataclass(frozen=True, slots=True)
class Exported:
    """A run's training files in the one format of trainers, on their way to `DIR/data`.

    Attributes:
        data: The files.
        staged: Where they lie until the directory is known to be this training's.
        folder: Where they go.
    """

    data: TrainingData
    staged: Path
    folder: Path

    def settle(self, data: TrainingData) -> TrainingData:
        """Move them to their folder; see `fine_tune`."""
        move_export(self.staged, self.folder)
        shutil.rmtree(self.staged, ignore_errors=True)
        valid = data.valid
        if valid is not None and valid.parent == self.staged:
            valid = self.folder / valid.name
        return replace(data, train=self.folder / data.train.name, valid=valid)


@contextmanager
def exported(
    run: Run,
    out: Path,
    valid: Path | None,
    *,
    left_out: Callable[[pa.Table], Sequence[bool]] | None = None,
) -> Iterator[Exported]:
    """Export a run beside a training that may be another one's: nothing of it is replaced yet.

    Args:
        run: A finished run.
        out: Directory of the training.
        valid: Rows to measure on; None = those that the export held out.
        left_out: As of `export_run`.
    """
    settings = build_config(run.path / CONFIG).export
    staged = out / f".data.{os.getpid()}{TEMPORARY}"
    there = out.exists()
    try:
        export_run(
            run,
            staged,
            settings.model_copy(update={"format": "openai", "extra_columns": "drop"}),
            left_out=left_out,
        )
        held_out = staged / _VALID
        if valid is None and held_out.is_file() and held_out.stat().st_size:
            valid = held_out
        yield Exported(TrainingData(staged / _TRAIN, valid), staged, out / "data")
    finally:
        shutil.rmtree(staged, ignore_errors=True)
        if not there:
            with suppress(OSError):  # something has come of it
                out.rmdir()
