"""Trainings of a tiny model that take seconds."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from clear_pipeline.finetune import (
    Balance,
    Mix,
    Trained,
    TrainingContext,
    TrainingData,
    fine_tune,
)
from clear_pipeline.finetune.lora import Lora
from clear_pipeline.finetune.replay import balanced
from clear_pipeline.stages.base import Progress, SilentProgress
from tiny_llama import tiny_llama


def chat(prompt: str, answer: str) -> dict[str, Any]:
    turns = (("user", prompt), ("assistant", answer))
    return {"messages": [{"role": role, "content": content} for role, content in turns]}


def write(path: Path, rows: Iterable[object]) -> Path:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


def colours(names: str, answers: tuple[str, str] = ("red", "blue")) -> list[dict[str, Any]]:
    return [chat(f"the colour of {name}?", answers[i % 2]) for i, name in enumerate(names)]


def training_data(folder: Path) -> TrainingData:
    """16 rows to learn from and 4 to measure on."""
    return TrainingData(
        write(folder / "train.jsonl", colours("abcdefghijklmnop")),
        write(folder / "valid.jsonl", colours("qrst")),
    )


def mixed_data(folder: Path, *, share: float = 0.2) -> TrainingData:
    """The same with general rows, 4 of 20 to learn from and 2 to measure on."""
    path = write(folder / "general.jsonl", [chat(f"is {n} a number?", "yes") for n in range(20)])
    balance = Balance(mix=Mix.model_validate({"data": str(path), "share": share}))
    return balanced(training_data(folder), balance, folder / "out" / "data", print)


def settings(folder: Path, **values: object) -> Lora:
    """Of a model in `folder`; 4 steps in each of 3 epochs, measured after each step."""
    if not (folder / "tiny.gguf").exists():
        tiny_llama(folder / "tiny.gguf")
    given = {"base": str(folder / "tiny.gguf"), "batch_size": 4, "learning_rate": 0.01, **values}
    return Lora.model_validate(given)


def context(folder: Path, progress: Progress | None = None) -> TrainingContext:
    return TrainingContext(folder / "out", progress or SilentProgress())


def trained(folder: Path, data: TrainingData | None = None, **values: object) -> Trained:
    """A training with such settings to its end."""
    work = fine_tune(settings(folder, **values), data or training_data(folder), context(folder))
    return asyncio.run(work)
