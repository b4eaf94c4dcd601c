"""A trainer that learns nothing, and its rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import ClassVar, Literal

from clear_pipeline.finetune import (
    Finding,
    Point,
    Price,
    Standing,
    Trained,
    TrainingContext,
    TrainingData,
)
from clear_pipeline.finetune.rows import training_rows
from clear_pipeline.llm.settings import ModelSettings
from clear_pipeline.settings import Settings

ROW = {
    "messages": [
        {"role": "user", "content": "2 + 2?"},
        {"role": "assistant", "content": "4"},
    ]
}


class Counting(Settings):
    """A trainer that learns nothing and leaves a line in its folder for each call of `train`."""

    name: ClassVar[str] = "counting"
    version: ClassVar[int] = 1
    kind: Literal["counting"] = "counting"
    epochs: int = 1

    def base_model(self) -> ModelSettings | None:
        return None

    def preflight(self, data: TrainingData, ctx: TrainingContext) -> tuple[Finding, ...]:
        return tuple(row for row in training_rows(data.train) if isinstance(row, Finding))

    def standing(self, ctx: TrainingContext) -> Standing:
        return "begun" if (ctx.folder / "calls").exists() else "fresh"

    def price(self, data: TrainingData) -> Price:
        return Price(0.0, None, "nothing")

    async def train(self, data: TrainingData, ctx: TrainingContext) -> Trained:
        with (ctx.folder / "calls").open("a") as file:
            file.write("train\n")
        model = ModelSettings(model="counted", base_url="http://127.0.0.1:1/v1")
        return Trained(model=model, curve=(Point(step=1, train_loss=0.5),), summary={"rows": 1})


def write(path: Path, *rows: object) -> Path:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path
