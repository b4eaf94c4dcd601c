"""What the benchmark model says for `benchmarks/clear_small.py`: confidences, ratings, verdicts."""

from __future__ import annotations

import asyncio
import fcntl
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from benchmarks.clear_small_tasks import TASKS, Row
from clear_pipeline.durable import write_text_atomically
from clear_pipeline.errors import UsageError
from clear_pipeline.llm.base import ChatModel, ChatRequest, Choice
from clear_pipeline.llm.meter import Meter
from clear_pipeline.llm.open import open_model
from clear_pipeline.llm.scripted import ScriptedChat
from clear_pipeline.llm.settings import ModelSettings
from clear_pipeline.schema import Example, rows_table
from clear_pipeline.stages.base import Context, Shard
from clear_pipeline.stages.rectify import Rectify
from clear_pipeline.stages.score import Score

RATING: Final = Score(reflection=("rating",), in_parts=False)
"""The plain 1-5 judge, read as the expected digit of one token."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Which model scores and judges, and with how many rows in flight."""

    base_url: str
    model: str
    in_flight: int = 32

    async def opened(self, cache: Path) -> ChatModel:
        """Connect, with a cache for the answers."""
        settings = ModelSettings.model_validate(
            {"model": self.model, "base_url": self.base_url, "max_in_flight": self.in_flight}
        )
        return await open_model(settings, cache_path=cache, meter=Meter())


@dataclass(frozen=True, slots=True)
class Scores:
    """What was found about each row of a pool, with its true answer and with its wrong one.

    Attributes:
        settings: Of the score stage, and who scored.
        confidence: Per row (with the true answer, with the wrong one); None where there is none.
        rating: The same, of the 1-5 judge.
    """

    settings: Mapping[str, Any]
    confidence: tuple[tuple[float | None, float | None], ...]
    rating: tuple[tuple[float | None, float | None], ...]


@dataclass(frozen=True, slots=True)
class Repair:
    """What became of one candidate.

    Attributes:
        outcome: As in the column `rectify_outcome`.
        text: The new target; None where there is none.
    """

    outcome: str
    text: str | None


def scores_of(
    task: str, rows: Sequence[Row], stage: Score, endpoint: Endpoint, folder: Path
) -> Scores:
    """The scores of a pool. The first who asks computes them, all others wait for the file."""
    path = folder / f"scores-{task}.json"
    with _alone(path.with_suffix(".lock")):
        if not path.exists():
            made = asyncio.run(_scored(task, rows, stage, endpoint, folder))
            write_text_atomically(path, json.dumps(made))
    found = json.loads(path.read_text(encoding="utf-8"))
    if found["settings"]["stage"] != stage.model_dump(mode="json"):
        raise UsageError(f"{path}: of other settings; name another --out")
    if len(found["confidence"]) != len(rows):
        raise UsageError(f"{path}: of {len(found['confidence'])} rows; name another --out")
    return read_scores(path)


def read_scores(path: Path) -> Scores:
    """The scores in a file that `scores_of` wrote."""
    found = json.loads(path.read_text(encoding="utf-8"))
    pairs = {name: tuple(map(tuple, found[name])) for name in ("confidence", "rating")}
    return Scores(found["settings"], **pairs)


async def _scored(
    task: str, rows: Sequence[Row], stage: Score, endpoint: Endpoint, folder: Path
) -> dict[str, Any]:
    asked = [TASKS[task].example(row, said) for row in rows for said in (row.clean, row.wrong)]
    model = await endpoint.opened(folder / f"answers-{task}.sqlite")
    try:
        found = {
            name: await _confidences(asked, each, model, endpoint.in_flight)
            for name, each in (("confidence", stage), ("rating", RATING))
        }
        settings = {"stage": stage.model_dump(mode="json"), "model": model.identity}
    finally:
        await model.close()
    pairs = {
        name: list(zip(values[::2], values[1::2], strict=True)) for name, values in found.items()
    }
    return {"settings": settings, **pairs}


async def _confidences(
    rows: Sequence[Example], stage: Score, model: ChatModel, in_flight: int
) -> list[float | None]:
    ctx = Context({"scorer": model}, rows_in_flight=in_flight)
    table = await stage.annotate(Shard("pool", rows_table(rows)), [True] * len(rows), None, ctx)
    found: list[float | None] = table["confidence"].to_pylist()
    return found


def repaired(
    rows: Sequence[Example], candidates: Sequence[Choice], endpoint: Endpoint, cache: Path
) -> list[Repair]:
    """Auto-Correct of rows that the filter drops, by the stage `rectify` with its defaults.

    Args:
        rows: With the responses that they have.
        candidates: What the model that was trained on the other rows says to each.
        endpoint: Who judges.
        cache: For its answers.
    """
    written = {row.messages: said for row, said in zip(rows, candidates, strict=True)}

    def candidate(request: ChatRequest, _: int) -> Choice:
        return written[request.messages]

    async def annotated() -> pa.Table:
        judge = await endpoint.opened(cache)
        try:
            models = {"candidate": ScriptedChat(candidate, name="trained"), "judge": judge}
            ctx = Context(models, rows_in_flight=endpoint.in_flight)
            dropped = pa.array([False] * len(rows))
            table = rows_table(rows).append_column("keep", dropped)
            return await Rectify().annotate(Shard("low", table), [True] * len(rows), None, ctx)
        finally:
            await judge.close()

    return [
        Repair(row["rectify_outcome"], row["candidate"] if row["rectified"] else None)
        for row in asyncio.run(annotated()).to_pylist()
    ]


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """One process at a time; the others wait."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
