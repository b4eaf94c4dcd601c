"""What a run says of itself in advance: before its first call, and again when calls have taught."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, TypeAlias

from clear_pipeline.errors import BudgetExceededError, ClearPipelineError
from clear_pipeline.estimate import QUICK, Effort, Estimate, Underway, estimate, words
from clear_pipeline.estimate.learning import ENOUGH
from clear_pipeline.estimate.revised import Bill, Revised, enough
from clear_pipeline.resume import StageInputs
from clear_pipeline.stages.base import Shard, Stage
from clear_pipeline.work import Work

Tell: TypeAlias = Callable[[Estimate], None]
"""Is told what a run will ask for; may raise to stop it."""
PAUSE: Final = 1.25
"""Where the answers teach nothing yet, it is looked again when so many times as many are there."""


async def ahead(
    stages: Sequence[Stage],
    earlier: Sequence[str],
    work: Work,
    *,
    answers: Path,
    effort: Effort,
) -> Estimate:
    """What these stages will ask about the rows as the earlier ones left them.

    Args:
        stages: Those left to run, in order.
        earlier: Those that have run.
        work: Of the run.
        answers: The cache of a run whose answers are left out, and learnt from.
        effort: How much it may take.
    """
    read, how = _reader(earlier, work), work.config.mode
    return await estimate(stages, read, work.pool, cache_path=answers, effort=effort, mode=how)


def _reader(earlier: Sequence[str], work: Work) -> Callable[[], Iterator[Shard]]:
    """Reads the rows as the earlier stages left them."""
    inputs = StageInputs.of(work.manifest, earlier)
    joined = work.store.joined
    return lambda: (joined(key, inputs.parts[key]) for key in inputs.keys)


class Foresight:
    """Tells what a run will take, and once more after `ENOUGH` of its calls, from what they took.

    The second time is a line of the progress, `revised_estimate` of the manifest and an event of
    the log. It is made beside the work of a stage, when enough rows are through with their calls.

    Args:
        work: Of the run.
        tell: Told the first time, and may raise to stop the run; None = the run says nothing.
    """

    def __init__(self, work: Work, tell: Tell | None) -> None:
        self._work = work
        self._tell = tell
        self._first: Estimate | None = None
        self._newest: Estimate | None = None
        self._before = 0
        self._due = float(ENOUGH)
        # The rounds of batches begin with an estimate each, which has learnt.
        self._told = work.config.mode != "live"
        self._underway: Underway | None = None
        self._looking: asyncio.Task[None] | None = None

    async def begin(self, stage: Stage, earlier: Sequence[str]) -> None:
        """Before a stage that asks: tell, if it is the first, what it and the later ones ask."""
        if self._tell is None or self._first is not None or not stage.roles():
            return
        work, left = self._work, self._left(stage)
        work.pool.mend_answers()  # the estimate reads them, and opens models meanwhile
        self._first = await ahead(left, earlier, work, answers=work.pool.cache_path, effort=QUICK)
        self._newest = self._first
        work.manifest.revised_estimate = {}
        self._before = work.pool.answered()
        self._tell(self._first)

    @asynccontextmanager
    async def beside(self, stage: Stage, earlier: Sequence[str]) -> AsyncIterator[None]:
        """While a stage asks, each `row_done` may begin the second time, which ends with this."""
        work, left = self._work, self._left(stage)
        read, cache_path = _reader(earlier, work), work.pool.cache_path
        self._underway = Underway(left, read, work.pool, cache_path=cache_path)
        try:
            yield
            if self._looking is not None:
                await self._looking
        finally:
            self._underway = None
            if self._looking is not None:
                self._looking.cancel()
                await asyncio.wait([self._looking])
                self._looking = None

    def inform(self, error: BudgetExceededError) -> None:
        """Tell a cap's stop what the newest estimate finds likely to do, if there is one."""
        if (newest := self._newest) is not None:
            error.estimated = enough(newest.spent, Bill.of(newest), error.cap)
            error.learnt = any(model.learnt_from for model in newest.models)

    def row_done(self) -> None:
        """A row of the stage is through with its calls."""
        if self._first is None or self._told or self._underway is None:
            return
        busy = self._looking is not None and not self._looking.done()
        if not busy and self._answered() >= self._due:
            self._looking = asyncio.create_task(self._look(self._first, self._underway))

    async def _look(self, first: Estimate, underway: Underway) -> None:
        answered = self._answered()
        try:
            left = await underway.left()
        except ClearPipelineError as error:  # what stops the run is told by whoever meets it
            self._told = True
            self._work.log.event("unforeseen", logging.WARNING, error=type(error).__name__)
            return
        if left is None:
            self._due = PAUSE * answered
            return
        self._told = True
        self._newest = left
        if left.need.calls.high:
            self._say(Revised(first, left, answered, self._work.config.budget))

    def _say(self, revised: Revised) -> None:
        work, figures, line = self._work, revised.to_json(), words.revised(revised)
        work.manifest.revised_estimate = {**figures, "line": line}
        work.save()
        work.log.event("revised_estimate", **figures)
        work.progress.note(line)

    def _answered(self) -> int:
        """Calls since the first time."""
        return self._work.pool.answered() - self._before

    def _left(self, stage: Stage) -> Sequence[Stage]:
        stages = self._work.config.stages
        return stages[stages.index(stage) :]
