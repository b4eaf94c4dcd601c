"""A search over three settings of the tiny model, and the training that follows."""

from __future__ import annotations

import asyncio
from pathlib import Path

from clear_pipeline.finetune import Trained, TrainingContext, fine_tune
from clear_pipeline.finetune.search import SearchReport, read_search, search, with_values
from clear_pipeline.stages.base import Progress
from lora_rows import settings, training_data

SPACE = """
trials: 3
folds: 3
space:
  learning_rate: {low: 0.001, high: 0.1, log: true}
  rank: [2, 4]
  epochs: {low: 1, high: 2}
"""


def searched_and_trained(
    folder: Path, out: str, progress: Progress
) -> tuple[SearchReport, Trained]:
    (folder / "search.yaml").write_text(SPACE)
    trainer = settings(folder, rank=4)
    how, axes = read_search(str(folder / "search.yaml"), trainer)
    data, ctx = training_data(folder), TrainingContext(folder / out, progress)
    report = asyncio.run(search(trainer, data, ctx, how, axes))
    chosen = with_values(trainer, report.chosen.settings)
    return report, asyncio.run(fine_tune(chosen, data, ctx))
