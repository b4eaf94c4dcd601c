"""The work on one shard in another thread or process, and what it tells the run."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import pyarrow as pa

from clear_pipeline.engine.base import ShardTask, annotated
from clear_pipeline.engine.relay import Question, RelayedModel, Reply, Report
from clear_pipeline.llm.base import Capabilities, ChatRequest
from clear_pipeline.manifest import StageRecord
from clear_pipeline.stages.base import Context, SilentProgress, Stage
from clear_pipeline.stages.failures import FailureTally
from clear_pipeline.store import Store


@dataclass(frozen=True, slots=True)
class Assignment:
    """What all shards of a stage have in common.

    Attributes:
        stage: Which.
        store: Where the shards lie, as every node sees it.
        models: Identity and capabilities by role.
        rows_in_flight: How many rows of one shard to work on at once.
        records: As in `Context`, without their parts.
    """

    stage: Stage
    store: Store
    models: Mapping[str, tuple[str, Capabilities]]
    rows_in_flight: int
    records: Mapping[str, StageRecord]


class _Told(SilentProgress):
    """Counts rows done and keeps the notes."""

    def __init__(self) -> None:
        super().__init__()
        self.rows = 0

    def advance(self, rows: int = 1) -> None:
        self.rows += rows


class _Kept(FailureTally):
    """Keeps the failures: whether they are too many is judged over all shards."""

    def __init__(self) -> None:
        super().__init__()
        self.failures: list[tuple[str, str, float, str]] = []

    def fail(self, stage: str, error: str, allowed: float, *, kind: str) -> None:
        self.failures.append((stage, error, allowed, kind))


class Reporter:
    """What the work on one shard tells, each failure once.

    Args:
        found: As in `Context`, so far.
    """

    def __init__(self, found: Mapping[str, bool]) -> None:
        self.progress = _Told()
        self.tally = _Kept()
        self.found = dict(found)
        self._sent = 0

    def report(self) -> Report:
        """All so far."""
        first, self._sent = self._sent, len(self.tally.failures)
        return Report(
            rows=self.progress.rows,
            begun=self.tally.begun,
            failures=tuple(self.tally.failures[first:]),
            first=first,
            notes=tuple(self.progress.notes),
            found=dict(self.found),
        )


class Hearing:
    """Passes on what is told of shards; of one that is worked on again, nothing twice.

    Args:
        ctx: Who is told.
    """

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._rows: Counter[str] = Counter()
        self._begun: Counter[str] = Counter()
        self._failures: Counter[str] = Counter()

    def hear(self, key: str, report: Report) -> None:
        """Pass on what is new.

        Raises:
            TooManyFailuresError: See `FailureTally.fail`.
        """
        ctx = self._ctx
        ctx.found.update(report.found)
        for note in report.notes:
            ctx.note_once(note)
        ctx.tally.begun += _new(self._begun, key, report.begun)
        if (rows := _new(self._rows, key, report.rows)) > 0:
            ctx.progress.advance(rows)
        new = _new(self._failures, key, report.first + len(report.failures))
        for stage, error, allowed, kind in report.failures[len(report.failures) - new :]:
            ctx.tally.fail(stage, error, allowed, kind=kind)


def _new(heard: Counter[str], key: str, count: int) -> int:
    """By how much a count is above all that was heard of the shard."""
    new = max(0, count - heard[key])
    heard[key] += new
    return new


def annotate_shard(
    assignment: Assignment,
    task: ShardTask,
    found: Mapping[str, bool],
    ask: Callable[[Question], Awaitable[Reply]],
) -> tuple[pa.Table, Report]:
    """Columns of one shard, `id` first, and the last report.

    Args:
        assignment: The stage.
        task: The shard.
        found: As in `Context`, so far.
        ask: Takes a question to the process of the run.
    """
    reporter = Reporter(found)

    async def put(role: str, request: ChatRequest) -> Reply:
        return await ask(Question(task.key, role, request, reporter.report()))

    ctx = Context(
        models={role: RelayedModel(role, *of, put) for role, of in assignment.models.items()},
        progress=reporter.progress,
        rows_in_flight=assignment.rows_in_flight,
        tally=reporter.tally,
        records=assignment.records,
        found=reporter.found,
    )
    columns = asyncio.run(annotated(assignment.stage, task, assignment.store, ctx))
    return columns, reporter.report()
