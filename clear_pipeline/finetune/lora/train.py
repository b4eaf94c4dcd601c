"""A training of the trainer `lora`, from its files to a model on disk."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import PreTrainedModel, TrainerState, set_seed

from clear_pipeline.errors import UntrainableError
from clear_pipeline.finetune.base import Point, Trained, TrainingContext, TrainingData
from clear_pipeline.finetune.general import GeneralCheck, answers_command
from clear_pipeline.finetune.lora.checkpoints import (
    CHECKPOINTS,
    Checkpoint,
    at_step,
    drop_cut_short,
    newest,
)
from clear_pipeline.finetune.lora.gguf_file import require_faithful
from clear_pipeline.finetune.lora.loop import DivergedError, Loop
from clear_pipeline.finetune.lora.methods import by_depth, load_weights, plain, trainable
from clear_pipeline.finetune.lora.prepare import Prepared, prepared
from clear_pipeline.finetune.lora.settings import Lora
from clear_pipeline.finetune.lora.source import model_of
from clear_pipeline.finetune.lora.written import written
from clear_pipeline.llm.catalog import CATALOG
from clear_pipeline.llm.quiet import quiet


@dataclass(frozen=True, slots=True)
class _Outcome:
    """How the loop ended: why, from which checkpoint its weights are, and its history."""

    reason: str
    checkpoint: Checkpoint
    before: float | None
    state: TrainerState


@dataclass(frozen=True, slots=True)
class Fitted:
    """A training in memory.

    Attributes:
        model: A plain model with the weights of the best step.
        curve: In the order of steps.
        summary: Figures for people, by their names.
        general: What became of general rows; None where there are none.
    """

    model: PreTrainedModel
    curve: tuple[Point, ...]
    summary: dict[str, str | int | float | None]
    general: GeneralCheck | None


def train(settings: Lora, data: TrainingData, ctx: TrainingContext) -> Trained:
    """As `Trainer.train`.

    Raises:
        UntrainableError: The loss became no number before the first checkpoint, or the GPU's memory
            does not do.
        UsageError: The model cannot be trained so, or not be written back.
    """
    with quiet():
        ready = prepared(settings, data, ctx.progress)
        base = model_of(ready.weights)
        if not ready.weights.is_dir():
            require_faithful(base, ready.weights)
    fitted = fit(base, settings, ready, ctx)
    with quiet():
        route = written(fitted.model, ready, ctx.folder, settings.weights)
    summary = dict(fitted.summary)
    if ready.weights.is_dir():
        summary["faster server"] = shlex.join(["vllm", "serve", route.model])
    if data.general is not None:
        summary["answers to general rows"] = answers_command(
            data.general,
            settings.base if settings.base in CATALOG else str(ready.weights),
            route,
        )
    return Trained(model=route, curve=fitted.curve, summary=summary, general=fitted.general)


@quiet()
def fit(base: PreTrainedModel, settings: Lora, ready: Prepared, ctx: TrainingContext) -> Fitted:
    """Train a model that is in memory, without writing it; checkpoints go to the folder.

    Args:
        base: Becomes the trained model: who needs it as it was hands over a copy.
        settings: Of the trainer.
        ready: The rows.
        ctx: A training that was cut short there goes on.

    Raises:
        UntrainableError: The loss became no number before the first checkpoint, or the GPU's memory
            does not do.
        UsageError: The model cannot be trained so.
    """
    set_seed(settings.seed)
    model = trainable(base, settings)
    trained = sum(each.numel() for each in model.parameters() if each.requires_grad)
    loop = Loop(
        model,
        settings,
        ready.tokenizer,
        (ready.train, ready.valid),
        groups=by_depth(model, model.config.num_hidden_layers),
        folder=ctx.folder / CHECKPOINTS,
        progress=ctx.progress,
    )
    general = loop.row_losses(ready.general)
    outcome = _looped(loop, settings, ready, ctx)
    load_weights(model, outcome.checkpoint)
    checked = _checked(general, loop.row_losses(ready.general), ready)
    curve, summary = _curve(outcome, checked), _summary(ready, outcome, trained)
    return Fitted(plain(model), curve, summary, checked)


def _checked(
    before: Sequence[float], after: Sequence[float], ready: Prepared
) -> GeneralCheck | None:
    tokens = [row.learnt for row in ready.general]
    return GeneralCheck.of(before, after, tokens) if tokens else None


def _looped(loop: Loop, settings: Lora, ready: Prepared, ctx: TrainingContext) -> _Outcome:
    folder = ctx.folder / CHECKPOINTS
    before = loop.valid_loss() if ready.valid else None
    reason = ""
    last = newest(folder)
    if last is None or not last.ended:
        drop_cut_short(folder)
        try:
            loop.train(resume_from_checkpoint=str(last.path) if last else None)
        except DivergedError as error:
            reason = f"the loss was no number any more at step {error.step}"
        except torch.OutOfMemoryError as error:
            raise UntrainableError(
                f"the GPU has too little memory for batch_size={settings.batch_size}: lower it, "
                "and raise accumulate by as much"
            ) from error
        finally:
            ctx.progress.finish()
        last = newest(folder)
    if last is None:
        raise UntrainableError(
            f"{reason}, before the first checkpoint: nothing is kept. Lower learning_rate (it is "
            f"{settings.peak_rate:g}), or raise warmup (it is {settings.warmup:g})"
        )
    state = TrainerState.load_from_json(str(last.path / "trainer_state.json"))
    early = state.global_step < state.max_steps
    ended = "no better validation loss for a while" if early else "all epochs were trained"
    best = at_step(folder, state.best_global_step)
    return _Outcome(reason or ended, best or last, before, state)


def _curve(outcome: _Outcome, general: GeneralCheck | None) -> tuple[Point, ...]:
    points: dict[int, dict[str, Any]] = {}
    if outcome.before is not None:
        points[0] = {"valid_loss": outcome.before}
    if general is not None:
        points.setdefault(0, {})["general_loss"] = general.before
        points.setdefault(outcome.checkpoint.step, {})["general_loss"] = general.after
    names = {"loss": "train_loss", "eval_loss": "valid_loss", "learning_rate": "learning_rate"}
    for entry in outcome.state.log_history:
        known = {names[name]: value for name, value in entry.items() if name in names}
        if known:
            points.setdefault(int(entry["step"]), {}).update(known)
    return tuple(Point(step=step, **values) for step, values in sorted(points.items()))


def _summary(
    ready: Prepared, outcome: _Outcome, trained: int
) -> dict[str, str | int | float | None]:
    state = outcome.state
    losses: Sequence[float] = [each["loss"] for each in state.log_history if "loss" in each]
    return {
        "rows": len(ready.train),
        "validation rows": len(ready.valid),
        "learnt tokens": sum(row.learnt for row in ready.train),
        "trained parameters": trained,
        "steps": state.global_step,
        "weights of step": outcome.checkpoint.step,
        "first train loss": losses[0] if losses else None,
        "last train loss": losses[-1] if losses else None,
        "validation loss before": outcome.before,
        "validation loss": state.best_metric,
        "ended": outcome.reason,
    }
