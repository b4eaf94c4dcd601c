"""A training of the trainer `lora` for its validation loss alone: no model is written."""

from __future__ import annotations

import gc
from copy import deepcopy
from functools import lru_cache
from pathlib import Path

from transformers import PreTrainedModel

from clear_pipeline.errors import UsageError
from clear_pipeline.finetune.base import Measured, TrainingContext, TrainingData
from clear_pipeline.finetune.lora.prepare import prepared
from clear_pipeline.finetune.lora.settings import Lora
from clear_pipeline.finetune.lora.source import model_of
from clear_pipeline.finetune.lora.train import fit
from clear_pipeline.llm.quiet import quiet


def measure(settings: Lora, data: TrainingData, ctx: TrainingContext) -> Measured:
    """As `SearchableTrainer.measure`, with early stopping as the settings have it."""
    gc.collect()  # the model of the measurement before, which lies in cycles
    with quiet():
        ready = prepared(settings, data, ctx.progress)
        if not ready.valid:
            raise UsageError(f"{data.valid or data.train}: no usable validation rows to measure on")
        base = deepcopy(_model(ready.weights, _stamp(ready.weights)))
    fitted = fit(base, settings, ready, ctx)
    return Measured(curve=fitted.curve, ended=str(fitted.summary["ended"]))


@lru_cache(maxsize=1)
def _model(weights: Path, _stamp: tuple[tuple[int, int], ...]) -> PreTrainedModel:
    """The model as it was read: reading takes longer than many a training of a search."""
    return model_of(weights)


def _stamp(weights: Path) -> tuple[tuple[int, int], ...]:
    """Changes with the files."""
    files = sorted(weights.iterdir()) if weights.is_dir() else [weights]
    return tuple((each.stat().st_mtime_ns, each.stat().st_size) for each in files)
