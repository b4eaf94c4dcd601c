"""A training from its files to its results: the order of things, which no trainer decides.

The folder holds `training.json` (what is trained on what, so that nothing goes on from the state of
another training), the trainer's own state, and once it is over `curve.svg` and `trained.json`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from clear_pipeline.durable import file_sha256, write_text_atomically, writing
from clear_pipeline.errors import RunMismatchError, UsageError
from clear_pipeline.finetune.base import (
    Finding,
    Price,
    Trained,
    Trainer,
    TrainingContext,
    TrainingData,
)
from clear_pipeline.finetune.picture import curve_svg
from clear_pipeline.schema import JSON
from clear_pipeline.store import Store

TRAINING: Final = "training.json"
TRAINED: Final = "trained.json"
CURVE: Final = "curve.svg"
_SHOWN: Final = 10
"""Findings in a message; the others are counted."""


def check(trainer: Trainer, data: TrainingData, ctx: TrainingContext) -> None:
    """Claim the folder for this training and look at the files; warnings are noted.

    Raises:
        RunMismatchError: The folder holds another training.
        UsageError: A file has errors: each with its row, as far as there is room.
        MissingExtraError: A library of the trainer is not installed.
    """
    claimed = _claim(trainer, data)
    _refuse_another(ctx.folder, claimed)
    found = trainer.preflight(data, ctx)
    for warning in (each for each in found if each.severity == "warning"):
        ctx.progress.note(f"warning: {warning}")
    if errors := [each for each in found if each.severity == "error"]:
        raise UsageError(_listed(errors))
    with writing(ctx.folder):
        ctx.folder.mkdir(parents=True, exist_ok=True)
    write_text_atomically(ctx.folder / TRAINING, json.dumps(claimed, indent=1))


def _unasked(_price: Price) -> None:
    """Whatever it costs."""


async def fine_tune(
    trainer: Trainer,
    data: TrainingData,
    ctx: TrainingContext,
    *,
    before: Callable[[Price], None] = _unasked,
) -> Trained:
    """Check, then train; a training that is over is read back and nothing is done again.

    Args:
        trainer: How.
        data: On what.
        ctx: Where.
        before: Told the price before anything is paid, uploaded or trained. What it raises ends
            the work.

    Raises:
        UsageError: As `check`.
        RunFailedError: As `Trainer.train`.
        RunLockedError: Another process works on this training.
        BatchPendingError: As `Trainer.train`.
    """
    check(trainer, data, ctx)
    if (done := read_trained(ctx.folder)) is not None:
        return done
    with Store(ctx.folder).locked(ctx.progress.note):
        before(trainer.price(data))
        trained = await trainer.train(data, ctx)
        write_text_atomically(ctx.folder / CURVE, curve_svg(trained))
        write_text_atomically(ctx.folder / TRAINED, trained.model_dump_json(indent=1))
    return trained


def read_trained(folder: Path) -> Trained | None:
    """What came out of the training in a folder; None if it is not over."""
    try:
        return Trained.model_validate_json((folder / TRAINED).read_bytes())
    except (FileNotFoundError, ValidationError):
        return None


def _claim(trainer: Trainer, data: TrainingData) -> dict[str, JSON]:
    """What is trained on what. Paths are not in it: a file may move."""
    for path in filter(None, (data.train, data.valid)):
        if not path.is_file():
            raise UsageError(f"{path}: no such file")
    return {
        "trainer": trainer.name,
        "version": trainer.version,
        "settings": trainer.identity(),
        "train": file_sha256(data.train),
        "valid": None if data.valid is None else file_sha256(data.valid),
    }


def _refuse_another(folder: Path, claimed: dict[str, JSON]) -> None:
    try:
        there = json.loads((folder / TRAINING).read_bytes())
    except FileNotFoundError:
        return
    except ValueError:
        there = {}
    if there != claimed:
        changed = [key for key in claimed if there.get(key) != claimed[key]]
        raise RunMismatchError(
            f"{folder}: holds a training with other {', '.join(changed)}; give another --out, or "
            "delete that directory"
        )


def _listed(errors: Sequence[Finding]) -> str:
    lines = [str(each) for each in errors[:_SHOWN]]
    if more := len(errors) - len(lines):
        lines.append(f"and {more:,} more")
    return "these rows cannot be trained on:\n  " + "\n  ".join(lines)
