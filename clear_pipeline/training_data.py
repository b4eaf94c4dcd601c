"""Training files in the one format of trainers: those that a run exports, and general rows."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import pyarrow as pa

from clear_pipeline.config import export_settings
from clear_pipeline.durable import temporary_name, writing
from clear_pipeline.export import move_export
from clear_pipeline.finetune import Balance, TrainingData
from clear_pipeline.outputs import export_run
from clear_pipeline.run import Run

DATA: Final = "data"
"""Where the files of a training lie in its folder."""
_TRAIN: Final = "train.jsonl"
_VALID: Final = "valid.jsonl"


@dataclass(frozen=True, slots=True)
class Exported:
    """Training files, some of them on their way to `DIR/data`.

    Attributes:
        data: The files.
        run: Where those of a run lie until the directory is known to be this training's; they may
            be none.
        mixed: Where those with general rows lie until then; they may be none.
        folder: Where both go.
    """

    data: TrainingData
    run: Path
    mixed: Path
    folder: Path

    def settle(self, data: TrainingData) -> TrainingData:
        """Move them to their folder; see `fine_tune`."""
        if self.run.is_dir():
            move_export(self.run, self.folder)
        if self.mixed.is_dir():
            with writing(self.folder):
                self.folder.mkdir(parents=True, exist_ok=True)
                for path in self.mixed.iterdir():
                    path.replace(self.folder / path.name)
        return replace(
            data,
            train=self._settled(data.train),
            valid=None if data.valid is None else self._settled(data.valid),
            general=None if data.general is None else self._settled(data.general),
        )

    def _settled(self, path: Path) -> Path:
        return self.folder / path.name if path.parent in (self.run, self.mixed) else path


@contextmanager
def exported(
    source: Run | Path,
    out: Path,
    valid: Path | None,
    *,
    left_out: Callable[[pa.Table], Sequence[bool]] | None = None,
    balance: Balance | None = None,
    note: Callable[[str], None] | None = None,
    measured: Collection[str] = (),
) -> Iterator[Exported]:
    """Write files beside a training that may be another one's: nothing of it is replaced yet.

    Args:
        source: A finished run, which is exported, or a training file.
        out: Directory of the training.
        valid: Rows to measure on, then a run holds out none; None = those that its export does.
        left_out: As of `export_run`.
        balance: The general rows; None = none.
        note: Told what there is to know of general rows.
        measured: As of `balanced`.
    """
    place = out / temporary_name("data")
    ran, mixed = place / "run", place / "mixed"
    there = out.exists()
    try:
        if isinstance(source, Path):
            data = TrainingData(source, valid)
        else:
            data = _exported(source, ran, valid, left_out)
        if balance is not None and balance != Balance():
            from clear_pipeline.finetune.replay import balanced  # scikit-learn: seconds

            data = balanced(data, balance, mixed, note or _unheard, measured=measured)
        yield Exported(data, ran, mixed, out / DATA)
    finally:
        shutil.rmtree(place, ignore_errors=True)
        if not there:
            with suppress(OSError):  # something has come of it
                out.rmdir()


def settled_in(folder: Path) -> tuple[Path, Path | None] | None:
    """What a run exported for the training that a folder holds: to train and to measure on.

    General rows are not among them. None where it is not there.
    """
    train, valid = folder / DATA / _TRAIN, folder / DATA / _VALID
    if not train.is_file():
        return None
    return train, valid if _has_rows(valid) else None


def _has_rows(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > 0


def _unheard(_text: str) -> None:
    """Nobody wants to know."""


def _exported(
    run: Run,
    folder: Path,
    valid: Path | None,
    left_out: Callable[[pa.Table], Sequence[bool]] | None,
) -> TrainingData:
    wanted = export_settings(run.path, format="openai", extra_columns="drop")
    if valid is not None:
        wanted = wanted.model_copy(update={"valid_fraction": 0.0})  # all rows are trained on
    export_run(run, folder, wanted, left_out=left_out, own_columns=False)
    held_out = folder / _VALID
    if valid is None and _has_rows(held_out):
        valid = held_out
    return TrainingData(folder / _TRAIN, valid)
