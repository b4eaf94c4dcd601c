"""Scoring the rows of a plan with the score stage itself, and the table that comes of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from clear_pipeline.errors import UsageError
from clear_pipeline.llm.base import Capabilities, ChatModel, ChatRequest, Completion, Usage
from clear_pipeline.llm.meter import Totals
from clear_pipeline.probe.plan import Plan
from clear_pipeline.schema import Example, rows_table
from clear_pipeline.stages.base import Context, Progress, Shard
from clear_pipeline.stages.score import Score

SCORED: Final = "probe.parquet"

_KEYS: Final = pa.schema(
    [
        pa.field("preset", pa.string(), nullable=False),
        pa.field("id", pa.string(), nullable=False),
        pa.field("original_id", pa.string(), nullable=False),
        pa.field("corruption", pa.string()),
    ]
)
"""What stands before the columns of the score; `corruption` is null for an original, whose
`original_id` is its own id."""


class Counted:
    """A model that adds up the tokens of its answers, whether they were asked for now or before.

    Args:
        inner: Answers.
    """

    def __init__(self, inner: ChatModel) -> None:
        self._inner = inner
        self.usage = Usage()

    @property
    def identity(self) -> str:
        """As the inner model's."""
        return self._inner.identity

    @property
    def capabilities(self) -> Capabilities:
        """As the inner model's."""
        return self._inner.capabilities

    async def complete(self, request: ChatRequest) -> Completion:
        """Answer, and count."""
        completion = await self._inner.complete(request)
        self.usage += completion.usage
        return completion

    async def close(self) -> None:
        """Close the inner model."""
        await self._inner.close()


@dataclass(frozen=True, slots=True)
class Spent:
    """What scoring the originals took, as a run over them would.

    Attributes:
        usage: Tokens.
        seconds: Per row, with as many rows in flight as a run has; None if every answer came
            from the cache.
    """

    usage: Usage
    seconds: float | None


async def score_plan(
    plan: Plan, stage: Score, ctx: Context, totals: Callable[[], Totals]
) -> tuple[pa.Table, Spent]:
    """Score all originals, once, then all spoiled rows.

    Args:
        plan: The rows.
        stage: With the settings of one preset.
        ctx: The model as `scorer`, and progress.
        totals: What the model has been asked so far.

    Returns:
        One row per row of the plan: `preset`, `id`, `original_id`, `corruption` and the columns
        of the score; and what the originals took.

    Raises:
        RunFailedError: Too many rows failed, or the server is gone.
    """
    model = Counted(ctx.models["scorer"])
    counted = replace(ctx, models={**ctx.models, "scorer": model})
    before, began = totals(), time.monotonic()
    originals = await _scored(stage, plan.originals, counted, f"{stage.preset}: rows")
    seconds = time.monotonic() - began
    fresh = totals().samples - before.samples
    cached = totals().cached_samples - before.cached_samples
    asked_now = len(plan.originals) * fresh / max(fresh + cached, 1)
    spent = Spent(model.usage, seconds / asked_now if asked_now else None)
    spoiled = await _scored(
        stage, [row.example for row in plan.planted], counted, f"{stage.preset}: spoiled rows"
    )
    return _with_keys(plan, stage, originals, spoiled), spent


async def _scored(stage: Score, rows: Sequence[Example], ctx: Context, label: str) -> pa.Table:
    shard = Shard("probe", rows_table(rows))
    ctx.progress.start(label, shard.rows)
    try:
        return await stage.annotate(shard, [True] * shard.rows, None, ctx)
    finally:
        ctx.progress.finish()


def _with_keys(plan: Plan, stage: Score, originals: pa.Table, spoiled: pa.Table) -> pa.Table:
    own = [row.id for row in plan.originals]
    keys = pa.table(
        {
            "preset": [stage.preset] * plan.rows,
            "id": own + [planted.example.id for planted in plan.planted],
            "original_id": own + [planted.original_id for planted in plan.planted],
            "corruption": [None] * len(own) + [planted.corruption for planted in plan.planted],
        },
        schema=_KEYS,
    )
    for field, column in zip(
        originals.schema, pa.concat_tables([originals, spoiled]).columns, strict=True
    ):
        keys = keys.append_column(field, column)
    return keys


def read_scored(directory: str | Path) -> pa.Table:
    """The scored originals and spoiled rows of a finished probe, see `score_plan`.

    Raises:
        UsageError: There is no probe in the directory.
    """
    path = Path(directory) / SCORED
    if not path.is_file():
        raise UsageError(f"{directory}: no probe here; start one: clear-pipeline probe DATA")
    return pq.read_table(path)


class ShownProgress:
    """A progress that shows the spend beside the rows."""

    def __init__(self, inner: Progress, spend: Callable[[], str]) -> None:
        self._spend = spend
        self._advance = inner.advance
        self.start = inner.start
        self.finish = inner.finish
        self.spent = inner.spent
        self.note = inner.note

    def advance(self, rows: int = 1) -> None:
        """So many more rows are done."""
        self.spent(self._spend)
        self._advance(rows)
