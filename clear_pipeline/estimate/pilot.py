"""A few rows asked for real, where that costs nothing: how clear verdicts are, and how fast.

A rehearsal cannot know whether a model answers with the word that it was asked for. On a model
without a price the first stage is run on some rows, for seconds; in a run its answers are kept.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import pyarrow as pa

from clear_pipeline.estimate.chain import eased, run_stage
from clear_pipeline.estimate.figures import Need
from clear_pipeline.llm.base import Capabilities, ChatModel, ChatRequest, Completion
from clear_pipeline.model_pool import ModelPool
from clear_pipeline.stages.base import Context, Stage
from clear_pipeline.stages.score import Score

_OUT_OF_THE_CACHE_S: Final = 0.002
"""An answer that took no longer was given before."""
PATIENCE_S: Final = 12.0
"""Seconds after that time, when calls under way are given up."""


@dataclass(frozen=True, slots=True)
class Pace:
    """Tokens read anew or written per second; None where nothing came in time.

    Attributes:
        verdicts: Of questions that are answered by a word.
        others: Of all other calls of a row, one row after the other.
    """

    verdicts: float | None = None
    others: float | None = None

    def minutes(self, verdicts: Need, others: Need) -> float | None:
        """What the two take at this pace; None where that is not known."""
        total = 0.0
        for need, rate in ((verdicts, self.verdicts), (others, self.others)):
            fresh = max(need.total.middle - need.cached.high, 0.0)
            if fresh and rate is None:
                return None
            total += fresh / rate if rate else 0.0
        return total / 60


async def pilot(
    stages: Sequence[Stage], table: pa.Table, pool: ModelPool, *, seconds: float
) -> Pace:
    """Run the first stage that asks a model on some rows of `table`.

    First for its verdicts alone, as many rows at once as in a run, then for all of one row. The
    answers are in the cache of `pool`.

    Args:
        stages: Those left to run, in order.
        table: Rows, with the columns of earlier stages.
        pool: The models.
        seconds: After so many, no further row is asked for its verdicts.

    Raises:
        RunFailedError: The server is gone.
        UsageError: The endpoint cannot do what the stage needs.
    """
    stage = eased(next(stage for stage in stages if stage.roles()))
    at_once = pool.rows_in_flight(stage.roles())
    opened = await pool.open(stage.roles())
    began = time.monotonic()
    verdicts = others = None
    if (brief := _verdicts_alone(stage)) is not None:
        chunks = (table.slice(start, at_once) for start in range(0, len(table), at_once))
        verdicts = await _rate(brief, chunks, opened, at_once, until=began + seconds)
    if brief != stage:
        others = await _rate(stage, iter([table.slice(0, 1)]), opened, 1, until=began)
    return Pace(verdicts, others)


def _verdicts_alone(stage: Stage) -> Stage | None:
    """The stage without what is not a verdict; None if it has none."""
    if not isinstance(stage, Score):
        return stage
    if not stage.reflection:
        return None
    kept = ("reflection", "reflection_via", "orders", "text_samples", "in_parts")
    return Score.model_validate(
        {**{name: getattr(stage, name) for name in kept}, "max_failed_fraction": 1.0}
    )


async def _rate(
    stage: Stage,
    chunks: Iterator[pa.Table],
    opened: Mapping[str, ChatModel],
    at_once: int,
    *,
    until: float,
) -> float | None:
    """Tokens per second of what comes; no chunk of rows is begun after `until`."""
    models = {role: Timed(model) for role, model in opened.items()}
    began = time.monotonic()
    try:
        async with asyncio.timeout(max(until - began, 0.0) + PATIENCE_S):
            for chunk in chunks:
                ctx = Context(models=models, rows_in_flight=at_once)
                await run_stage(stage, chunk, ctx)
                if time.monotonic() > until:
                    break
    except TimeoutError:
        pass
    tokens = sum(model.fresh for model in models.values())
    return tokens / (time.monotonic() - began) if tokens else None


class Timed:
    """Passes questions on; `fresh` counts tokens of answers that took time."""

    def __init__(self, inner: ChatModel) -> None:
        self._inner = inner
        self.fresh = 0

    @property
    def identity(self) -> str:
        """As the inner model's."""
        return self._inner.identity

    @property
    def capabilities(self) -> Capabilities:
        """As the inner model's."""
        return self._inner.capabilities

    async def complete(self, request: ChatRequest) -> Completion:
        """Answer as the inner model does."""
        began = time.monotonic()
        completion = await self._inner.complete(request)
        used = completion.usage
        if time.monotonic() - began > _OUT_OF_THE_CACHE_S:
            self.fresh += used.prompt - used.cached + used.completion
        return completion

    async def close(self) -> None:
        """Nothing: whoever opened the inner model closes it."""
