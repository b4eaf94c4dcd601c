"""What a run will ask for: before it asks, and while it goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa

from clear_pipeline.estimate.figures import Estimate
from clear_pipeline.estimate.learning import Learnt
from clear_pipeline.estimate.outlook import Outlook
from clear_pipeline.estimate.pilot import Pace, pilot
from clear_pipeline.estimate.sample import Sample, take
from clear_pipeline.llm.answers import Answers
from clear_pipeline.llm.batch.settings import Mode
from clear_pipeline.model_pool import ModelPool
from clear_pipeline.stages.base import Shard, Stage


@dataclass(frozen=True, slots=True)
class Effort:
    """How much an estimate may take.

    Attributes:
        rows: Rows that the stages are rehearsed on.
        seconds: How long a model without a price is asked about rows of the sample.
    """

    rows: int
    seconds: float


THOROUGH: Final = Effort(rows=200, seconds=60.0)
"""Of an estimate alone."""
QUICK: Final = Effort(rows=50, seconds=4.0)
"""Of one that a run waits for."""
FIRST: Final = 60
"""Rows from the start of the data whose answers, if there are any, are learnt from."""


PILOT_ROWS: Final = 64
"""Rows that are asked for real at most, where that is free."""


async def estimate(
    stages: Sequence[Stage],
    read: Callable[[], Iterable[Shard]],
    pool: ModelPool,
    *,
    cache_path: Path,
    effort: Effort = THOROUGH,
    mode: Mode = "live",
) -> Estimate:
    """What these stages will ask; answered calls are left out, and learnt from.

    No call is made that could be paid or counts against a cap: a server is asked what it is and to
    count tokens. A model without a price is asked about a few rows, where no cap is set.

    Args:
        stages: Those left to run, in order.
        read: Reads all shards, with the columns of the stages that have run.
        pool: The models.
        cache_path: Answers of this run, if there are any.
        effort: How much it may take.
        mode: How the run will ask; only where it is live is anything asked, and are rows tried.

    Raises:
        UnreachableError: A server does not answer.
        UsageError: The endpoint cannot do what a stage needs.
    """
    sample, live = take(read, rows=effort.rows, first=FIRST), mode == "live"
    with _answers(cache_path) as answers:
        outlook = await Outlook.of(stages, sample, pool, answers, live=live)
        learnt = await outlook.learnt()
        ends = await outlook.ends()
    pace = tried = None
    may_try = live and outlook.is_free and not pool.budget.is_capped
    if may_try and any(ends[0].values()):
        pace, tried = await _tried(outlook, pool, effort)
    return await outlook.estimate(ends, learnt, tried, pace, batch=mode == "batch")


class Underway:
    """What is left of a run that goes on, known as soon as its answers teach something.

    Args:
        stages: The one that is asking, and those after it.
        read: As for `estimate`. The rows are drawn once.
        pool: The models.
        cache_path: Answers of this run.
        rows: Rows that the stages are rehearsed on.
    """

    def __init__(
        self,
        stages: Sequence[Stage],
        read: Callable[[], Iterable[Shard]],
        pool: ModelPool,
        *,
        cache_path: Path,
        rows: int = THOROUGH.rows,
    ) -> None:
        self._stages = stages
        self._read = read
        self._pool = pool
        self._cache_path = cache_path
        self._rows = rows
        self._sample: Sample | None = None

    async def left(self) -> Estimate | None:
        """What is still to be asked; None as long as too few answers teach.

        Others have their turn meanwhile; what they ask by then is to come.
        """
        if self._sample is None:
            self._sample = await asyncio.to_thread(take, self._read, rows=self._rows, first=FIRST)
        with _answers(self._cache_path) as answers:
            outlook = await Outlook.of(self._stages, self._sample, self._pool, answers)
            learnt = await outlook.learnt()
            if not learnt.lessons:
                return None
            return await outlook.estimate(await outlook.ends(), learnt)


async def _tried(outlook: Outlook, pool: ModelPool, effort: Effort) -> tuple[Pace, Learnt]:
    """The pace of a pilot, and what was learnt from it."""
    sample = outlook.sample
    order = np.random.default_rng(0).permutation(len(sample.table))  # all lengths from the start
    table = sample.table.take(pa.array(order[:PILOT_ROWS]))
    pace = await pilot(outlook.stages, table, pool, seconds=effort.seconds)
    with _answers(pool.cache_path) as answers:
        return pace, Learnt() if answers is None else await outlook.tried(table, answers)


@contextmanager
def _answers(path: Path) -> Iterator[Answers | None]:
    if not path.is_file():
        yield None
        return
    answers = Answers(path)
    try:
        yield answers
    finally:
        answers.close()
