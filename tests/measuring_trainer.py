"""A trainer whose losses are a formula of its settings, and rows to search on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from clear_pipeline.errors import UntrainableError, UsageError
from clear_pipeline.finetune import (
    Finding,
    Measured,
    Point,
    Price,
    Standing,
    Trained,
    TrainingContext,
    TrainingData,
)
from clear_pipeline.llm.settings import ModelSettings
from clear_pipeline.schema import JSON
from clear_pipeline.settings import Settings


class Measuring(Settings):
    """Its loss is lowest, 1, at a rate of 0.01 and a width of 0; a fold adds a tenth of its number.

    Every measurement is a line in the file `calls` of the folder above that of the search.
    """

    name: ClassVar[str] = "measuring"
    version: ClassVar[int] = 1
    unsearchable: ClassVar[Mapping[str, str]] = {"seed": "it is luck"}
    kind: Literal["measuring"] = "measuring"
    rate: Annotated[float, Field(gt=0)] = 0.1
    width: Annotated[int, Field(ge=0)] = 4
    seed: int = 0
    broken: bool = False

    def base_model(self) -> ModelSettings | None:
        return None

    def preflight(self, data: TrainingData, ctx: TrainingContext) -> tuple[Finding, ...]:
        return ()

    def standing(self, ctx: TrainingContext) -> Standing:
        return "fresh"

    def price(self, data: TrainingData) -> Price:
        return Price(0.0, None, "nothing")

    async def train(self, data: TrainingData, ctx: TrainingContext) -> Trained:
        return Trained(model=ModelSettings(model="m", base_url="http://127.0.0.1:1/v1"))

    def space(self) -> Mapping[str, JSON]:
        return {"rate": {"low": 0.001, "high": 1, "log": True}}

    def in_effect(self) -> Mapping[str, Any]:
        return self.model_dump()

    async def measure(
        self, data: TrainingData, ctx: TrainingContext, *, early_stop: bool
    ) -> Measured:
        import math

        out = next(each for each in ctx.folder.parents if each.name == "search").parent
        with (out / "calls").open("a") as file:
            file.write(f"{self.rate:g} {self.width} {ctx.folder.name}\n")
        if self.rate > 0.5:
            raise UntrainableError("the loss was no number any more at step 1")
        if self.broken:
            raise UsageError("does not fit the model")
        fold = int(ctx.folder.name.removeprefix("fold-"))
        loss = 1 + (math.log10(self.rate) + 2) ** 2 + self.width / 100 + fold / 10
        (ctx.folder / "checkpoints").mkdir()
        points = (Point(step=0, valid_loss=0.5), Point(step=5, valid_loss=loss))
        return Measured(curve=(*points, Point(step=10, valid_loss=loss + 0.5)), ended="all")


def rows(folder: Path, count: int, name: str = "train.jsonl") -> Path:
    """So many rows, each with a prompt of its own."""
    path = folder / name
    turns = [
        [{"role": "user", "content": f"{i}?"}, {"role": "assistant", "content": f"{i}!"}]
        for i in range(count)
    ]
    path.write_text("".join(json.dumps({"messages": each}) + "\n" for each in turns))
    return path


def calls(out: Path) -> list[str]:
    """The measurements so far."""
    return (out / "calls").read_text().splitlines()
