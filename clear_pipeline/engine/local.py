"""The local engine: a stage that asks models takes one shard after the other, and many of its rows.

What asks none, a stage or a survey, takes as many shards at once as there are cores.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

from clear_pipeline.engine.base import Parts, ShardTask, annotated
from clear_pipeline.engine.relay import Question, Reply, Report
from clear_pipeline.engine.shards import StoredShards, ahead
from clear_pipeline.engine.worker import Assignment, Hearing, annotate_shard
from clear_pipeline.llm.pending import Independent
from clear_pipeline.manifest import Part
from clear_pipeline.stages.base import Context, Progress, Stage
from clear_pipeline.store import Store

T = TypeVar("T")
R = TypeVar("R")

_AHEAD = 1
"""Results that may wait to be taken, beside those under way."""


class LocalEngine:
    """Computes in this process; memory holds a few shards at a time.

    Args:
        store: Where the shards lie.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    @contextmanager
    def shards(
        self, label: str, tasks: Sequence[ShardTask], progress: Progress
    ) -> Iterator[StoredShards]:
        """All shards, read in threads: what takes the time there leaves other threads running."""
        with _threads() as threads:
            try:
                yield StoredShards(self._store, label, tasks, progress, threads)
            finally:
                shutil.rmtree(self._store.scratch, ignore_errors=True)

    async def annotate(
        self, stage: Stage, tasks: Iterable[ShardTask], ctx: Context, parts: Parts
    ) -> None:
        """Annotate every shard and write its columns.

        Raises:
            PendingError: Shards wait for a batch; all others are done.
        """
        if not stage.roles():
            self._annotate_in_threads(stage, tasks, ctx, parts)
            return
        with Independent() as independent:
            for task in tasks:
                with independent.part():
                    columns = await annotated(stage, task, self._store, ctx)
                    parts.enter(task.key, parts.write(task.key, columns))

    def _annotate_in_threads(
        self, stage: Stage, tasks: Iterable[ShardTask], ctx: Context, parts: Parts
    ) -> None:
        """Shards are entered in order; meanwhile the next ones are computed and written."""
        given = Assignment(stage, self._store, {}, ctx.rows_in_flight, ctx.records)
        work, hearing = partial(_written, given, parts), Hearing(ctx)
        with _threads() as threads:
            for key, part, report in ahead(threads, work, tasks):
                hearing.hear(key, report)
                parts.enter(key, part)


def _written(given: Assignment, parts: Parts, task: ShardTask) -> tuple[str, Part, Report]:
    """A shard's key, what was written of it, and what there is to tell of it."""
    columns, report = annotate_shard(given, task, {}, _no_model)
    return task.key, parts.write(task.key, columns), report


async def _no_model(question: Question) -> Reply:
    raise LookupError(f"{question.role} is no role of this stage")


@contextmanager
def _threads() -> Iterator[_Threads]:
    """As many as there are cores; what nobody waits for any more is not begun."""
    with ThreadPoolExecutor(cores()) as pool:
        try:
            yield _Threads(pool)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


class _Threads:
    """See `Workers`."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self._pool = pool
        self.most = cores() + _AHEAD

    def starter(self, work: Callable[[T], R]) -> Callable[[T], Callable[[], R]]:
        """See `Workers`."""
        return lambda item: self._pool.submit(work, item).result


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
