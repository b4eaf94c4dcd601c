# ruff: noqa: ARG002, ANN401 -- callbacks take what the library hands them
"""The loop over steps: `transformers.Trainer`, with what it has no setting for."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import torch
import transformers
from peft import PeftModel
from torch import nn
from transformers import (
    DataCollatorForSeq2Seq,
    EarlyStoppingCallback,
    PreTrainedTokenizerBase,
    PrinterCallback,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from clear_pipeline.finetune.lora.checkpoints import mark_whole
from clear_pipeline.finetune.lora.labels import IGNORED, Encoded
from clear_pipeline.finetune.lora.methods import parameter_groups, thawed
from clear_pipeline.finetune.lora.settings import Lora
from clear_pipeline.stages.base import Progress

_KEPT: Final = 2
"""Checkpoints at a time: the best and the last."""
_SCHEDULES: Final = {
    "cosine": "cosine", "linear": "linear", "constant": "constant_with_warmup",
}  # fmt: skip


class DivergedError(Exception):
    """The loss or the gradient is no number any more."""

    def __init__(self, step: int) -> None:
        super().__init__(f"step {step}")
        self.step = step


class Loop(transformers.Trainer):
    """Trains a model on encoded rows.

    Args:
        model: What is trained is marked by `requires_grad`.
        settings: Of the trainer.
        tokenizer: For padding.
        rows: To learn from, and to measure on.
        groups: What is trained, by depth, from the top.
        folder: For checkpoints.
        progress: Where to report.
    """

    optimizer: torch.optim.Optimizer | None
    control: TrainerControl

    def __init__(
        self,
        model: nn.Module,
        settings: Lora,
        tokenizer: PreTrainedTokenizerBase,
        rows: tuple[Sequence[Encoded], Sequence[Encoded]],
        *,
        groups: Mapping[int, list[nn.Parameter]],
        folder: Path,
        progress: Progress,
    ) -> None:
        train, valid = rows
        self._settings = settings
        self._groups = groups
        self._valid = valid
        self._chooses = "logits_to_keep" in inspect.signature(_unwrapped(model).forward).parameters
        super().__init__(
            model=model,
            args=_arguments(settings, len(train), folder, measured=bool(valid)),
            train_dataset=[_features(row) for row in train],
            eval_dataset=[_features(row) for row in valid] or None,
            data_collator=DataCollatorForSeq2Seq(tokenizer, label_pad_token_id=IGNORED),
        )
        self.remove_callback(PrinterCallback)
        self.add_callback(_Course(settings, groups, folder, progress, rows=len(train)))
        if valid and settings.patience is not None:
            self.add_callback(EarlyStoppingCallback(early_stopping_patience=settings.patience))

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """AdamW, with a rate for each layer; the first group is at the top and has the full one."""
        if self.optimizer is None:
            self.optimizer = torch.optim.AdamW(parameter_groups(self._groups, self._settings))
        return self.optimizer

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Any], *args: Any, **kwargs: Any
    ) -> Any:
        """The model's own loss, from logits where something is learnt.

        The other positions count for nothing, and are the most of many batches: for a large
        vocabulary their logits can take more time and memory than all layers.
        """
        chosen = self._where_learnt(inputs["labels"]) if self._chooses else {}
        return super().compute_loss(model, {**inputs, **chosen}, *args, **kwargs)

    def _where_learnt(self, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        """Positions after which a token is learnt in any row, and the tokens that follow them.

        All positions, if the model cannot choose.
        """
        following = nn.functional.pad(labels, (0, 1), value=IGNORED)[:, 1:]
        if not self._chooses:
            return {"shift_labels": following}
        kept = (following != IGNORED).any(dim=0).nonzero().flatten()
        return {"logits_to_keep": kept, "shift_labels": following[:, kept]}

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Measure, over all validation rows: the library's own is a mean of means of batches."""
        metrics = {"eval_loss": self.valid_loss()}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics
        )
        return metrics

    def valid_loss(self) -> float:
        """Mean of -log p over all learnt tokens of the validation rows."""
        return sum(self.row_losses(self._valid)) / sum(row.learnt for row in self._valid)

    def row_losses(self, rows: Sequence[Encoded]) -> list[float]:
        """Of each row the sum of -log p over its learnt tokens, by the model as it is now."""
        self.model.eval()
        losses: list[float] = []
        size = self.args.per_device_train_batch_size
        for start in range(0, len(rows), size):
            features = [_features(row) for row in rows[start : start + size]]
            batch = self.data_collator(features).to(self.args.device)
            chosen = self._where_learnt(batch.pop("labels"))
            labels = chosen.pop("shift_labels")
            with torch.no_grad():
                logits = self.model(**batch, **chosen).logits.float()
            each = nn.functional.cross_entropy(
                logits.transpose(1, 2), labels, ignore_index=IGNORED, reduction="none"
            )
            losses += each.sum(dim=1).tolist()
        return losses


class _Course(TrainerCallback):
    """Watches the steps: thaws layers, stops at a loss that is none, marks checkpoints, reports."""

    def __init__(
        self,
        settings: Lora,
        groups: Mapping[int, list[nn.Parameter]],
        folder: Path,
        progress: Progress,
        *,
        rows: int,
    ) -> None:
        self._settings = settings
        self._groups = groups
        self._folder = folder
        self._progress = progress
        self._rows = rows
        self._shown: dict[str, str] = {}

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        self._progress.start("training", self._settings.epochs * self._rows)
        self._progress.advance(self._seen(state.global_step))

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        span = self._settings.unfreeze * state.max_steps
        count = thawed(self._groups, state.global_step / span if span else 1.0)
        for number, parameters in enumerate(self._groups.values()):
            for parameter in parameters:
                parameter.requires_grad_(number < count)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        if state.global_step >= state.max_steps:
            control.should_evaluate = bool(args.eval_strategy != "no")
            control.should_save = True
        step = state.global_step
        self._progress.advance(self._seen(step) - self._seen(step - 1))

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: Mapping[str, float] | None = None,
        **_: Any,
    ) -> None:
        logs = logs or {}
        for name in ("loss", "grad_norm", "eval_loss"):
            if not math.isfinite(logs.get(name, 0.0)):
                raise DivergedError(state.global_step)
        for name, label in (("loss", "loss"), ("eval_loss", "valid")):
            if name in logs:
                self._shown[label] = f"{label} {logs[name]:.3f}"
        self._progress.spent(lambda: ", ".join(self._shown.values()))

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        ended = control.should_training_stop or state.global_step >= state.max_steps
        mark_whole(self._folder, state.global_step, ended=ended)

    def _seen(self, step: int) -> int:
        """Rows that were learnt from after a step; the last step of an epoch may have fewer."""
        epochs, within = divmod(step, steps_per_epoch(self._settings, self._rows))
        whole = self._settings.batch_size * self._settings.accumulate
        return epochs * self._rows + within * whole


def _unwrapped(model: nn.Module) -> nn.Module:
    """The model itself, without low-rank matrices around it."""
    return model.get_base_model() if isinstance(model, PeftModel) else model


def steps_per_epoch(settings: Lora, rows: int) -> int:
    """How many updates of the weights one epoch has."""
    return math.ceil(math.ceil(rows / settings.batch_size) / settings.accumulate)


def _features(row: Encoded) -> dict[str, list[int]]:
    return {
        "input_ids": list(row.ids),
        "attention_mask": [1] * len(row.ids),
        "labels": list(row.labels),
    }


def _arguments(settings: Lora, rows: int, folder: Path, *, measured: bool) -> TrainingArguments:
    steps = steps_per_epoch(settings, rows)
    every = math.ceil(steps / settings.checks_per_epoch)
    on_cpu = not torch.cuda.is_available()
    made = TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=settings.epochs,
        per_device_train_batch_size=settings.batch_size,
        gradient_accumulation_steps=settings.accumulate,
        learning_rate=settings.peak_rate,
        lr_scheduler_type=_SCHEDULES[settings.schedule],
        warmup_steps=int(settings.warmup * steps * settings.epochs),
        max_grad_norm=1.0,
        logging_steps=1,
        logging_nan_inf_filter=False,
        eval_strategy="steps" if measured else "no",
        eval_steps=every,
        save_strategy="steps",
        save_steps=every,
        save_total_limit=_KEPT,
        metric_for_best_model="eval_loss" if measured else None,
        greater_is_better=False if measured else None,
        restore_callback_states_from_checkpoint=True,
        seed=settings.seed,
        data_seed=settings.seed,
        remove_unused_columns=False,
        report_to="none",
        disable_tqdm=True,
        use_cpu=on_cpu,
        dataloader_pin_memory=not on_cpu,
    )
    return on_one_device(made)


def on_one_device(args: TrainingArguments) -> TrainingArguments:
    """Keep the library from spreading each batch over all GPUs: `batch_size` is what was set."""
    if args.n_gpu > 1:
        args._n_gpu = 1  # noqa: SLF001 -- as its documentation has it; there is no setting
    return args
