"""A training from its files to its results: the order of things, which no trainer decides.

The folder holds `training.json` (see `claim`), the trainer's own state, and once it is over
`curve.svg` and `trained.json`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from clear_pipeline.durable import write_text_atomically
from clear_pipeline.errors import RunMismatchError, UsageError
from clear_pipeline.finetune.base import (
    CancellableTrainer,
    Finding,
    Price,
    Trained,
    Trainer,
    TrainingContext,
    TrainingData,
)
from clear_pipeline.finetune.claim import Claim, require_own_settings
from clear_pipeline.finetune.picture import curve_svg
from clear_pipeline.manifest import Manifest
from clear_pipeline.store import Store

TRAINED: Final = "trained.json"
CURVE: Final = "curve.svg"
_SHOWN: Final = 10
"""Findings in a message; the others are counted."""


def check(trainer: Trainer, data: TrainingData, ctx: TrainingContext) -> None:
    """Look at the files; warnings are noted. Nothing is written.

    Raises:
        UsageError: A file has errors: each with its row, as far as there is room.
        MissingExtraError: A library of the trainer is not installed.
    """
    found = trainer.preflight(data, ctx)
    for warning in _listed([each for each in found if each.severity == "warning"]):
        ctx.progress.note(f"warning: {warning}")
    if errors := _listed([each for each in found if each.severity == "error"]):
        raise UsageError("\n  ".join(["these rows cannot be trained on:", *errors]))


def require_no_run(folder: Path) -> None:
    """Make sure that a training may be put into a folder.

    Raises:
        UsageError: It is a run directory.
    """
    if Manifest.read(folder) is not None:
        raise UsageError(f"{folder}: is a run directory; give the training another --out")


def _unasked(_price: Price) -> None:
    """Whatever it costs."""


def _where_it_is(data: TrainingData) -> TrainingData:
    return data


async def fine_tune(
    trainer: Trainer,
    data: TrainingData,
    ctx: TrainingContext,
    *,
    before: Callable[[Price], None] = _unasked,
    settled: Callable[[TrainingData], TrainingData] = _where_it_is,
) -> Trained:
    """Check, then train; a training that is over is read back and nothing is done again.

    Args:
        trainer: How.
        data: On what.
        ctx: Where.
        before: Told the price before anything is paid, uploaded or trained; not where that was
            agreed to earlier. What it raises ends the work.
        settled: Told once the folder is this training's, before it is trained; returns where the
            files lie from then on.

    Raises:
        UsageError: As `check`; or the folder is a run directory.
        RunMismatchError: The folder holds another training.
        RunFailedError: As `Trainer.train`.
        RunLockedError: Another process works on this training.
        BatchPendingError: As `Trainer.train`.
    """
    require_no_run(ctx.folder)
    claim = Claim.of(trainer, data)
    if (done := _done(claim, trainer, ctx)) is not None:
        return _warned(done, ctx)
    check(trainer, data, ctx)
    with Store(ctx.folder).locked(ctx.progress.note):
        # Again: until here another process may have begun, and ended.
        if (done := _done(claim, trainer, ctx)) is not None:
            return _warned(done, ctx)
        if trainer.standing(ctx) != "begun":
            before(trainer.price(data))
        data = settled(data)
        claim.write(ctx.folder)
        trained = _with_general(await trainer.train(data, ctx), data)
        write_text_atomically(ctx.folder / CURVE, curve_svg(trained))
        write_text_atomically(ctx.folder / TRAINED, trained.model_dump_json(indent=1))
    return _warned(trained, ctx)


async def cancel_training(trainer: CancellableTrainer, ctx: TrainingContext) -> str:
    """As `CancellableTrainer.cancel`, for the settings that the training was begun with alone.

    Raises:
        RunMismatchError: It was begun with others.
        RunFailedError: As `CancellableTrainer.cancel`.
    """
    require_own_settings(trainer, ctx.folder)
    return await trainer.cancel(ctx)


def read_trained(folder: Path) -> Trained | None:
    """What came out of the training in a folder; None if it is not over, or the model is gone."""
    try:
        trained = Trained.model_validate_json((folder / TRAINED).read_bytes())
    except (FileNotFoundError, ValidationError):
        return None
    model = Path(trained.model.model)
    return None if model.is_absolute() and not model.exists() else trained


def _with_general(trained: Trained, data: TrainingData) -> Trained:
    """The figures of general rows beside the trainer's own."""
    added: dict[str, str | int | float | None] = {}
    if data.mix is not None:
        added["general rows trained on"] = data.mix.shown()
    if (found := trained.general) is not None:
        added |= {
            "general rows": found.rows,
            "general loss before": found.before,
            "general loss": found.after,
            "general loss change [95 %]": found.shown(),
        }
    return trained.model_copy(update={"summary": trained.summary | added})


def _warned(trained: Trained, ctx: TrainingContext) -> Trained:
    """The same; whoever reads it is told if general rows have become worse."""
    if trained.general is not None and trained.general.is_worse:
        ctx.progress.note(f"warning: {trained.general.warning()}")
    return trained


def _done(claim: Claim, trainer: Trainer, ctx: TrainingContext) -> Trained | None:
    """What came out, if the training is over.

    Raises:
        RunMismatchError: The folder holds another training, of which more is left than its claim.
    """
    there = Claim.read(ctx.folder)
    if there is None:
        return None
    done = read_trained(ctx.folder)
    if there == claim:
        return done
    fresh = there.trainer == claim.trainer and trainer.standing(ctx) == "fresh"
    if done is None and fresh:
        return None
    changed = ", ".join(claim.changed(there))
    raise RunMismatchError(
        f"{ctx.folder}: holds a training with other {changed}; give another --out, or delete that "
        "directory"
    )


def _listed(found: Sequence[Finding]) -> list[str]:
    """The first of them, and how many others there are."""
    lines = [str(each) for each in found[:_SHOWN]]
    if more := len(found) - len(lines):
        lines.append(f"and {more:,} more")
    return lines
