"""The local engine: shards are annotated one after the other, rows of a shard in parallel.

A survey, which asks no model, looks at as many shards at once as there are cores.
"""

from __future__ import annotations

import os
import shutil
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice, repeat
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa

from clear_pipeline.durable import writing
from clear_pipeline.engine.base import Done, ShardTask
from clear_pipeline.llm.pending import Independent
from clear_pipeline.stages.base import Context, Progress, Shard, Stage, alive_rows
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
    ) -> Iterator[LocalShards]:
        """All shards, read in threads: what takes the time there leaves other threads running."""
        with ThreadPoolExecutor(cores()) as pool:
            try:
                yield LocalShards(self._store, label, tasks, progress, pool)
            finally:
                pool.shutdown(wait=True, cancel_futures=True)
                shutil.rmtree(self._store.scratch, ignore_errors=True)

    async def annotate(
        self, stage: Stage, tasks: Iterable[ShardTask], ctx: Context, done: Done
    ) -> None:
        """Annotate every shard and hand its columns to `done`.

        Raises:
            PendingError: Shards wait for a batch; all others are done.
        """
        with Independent() as independent:
            for task in tasks:
                shard = self._store.joined(task.key, task.parts)
                with independent.part():
                    columns = await stage.annotate(shard, alive_rows(shard.table), task.state, ctx)
                    done(task.key, with_ids(stage, shard, columns))


class LocalShards:
    """See `stages.base.Shards`."""

    def __init__(
        self,
        store: Store,
        label: str,
        tasks: Sequence[ShardTask],
        progress: Progress,
        pool: ThreadPoolExecutor,
    ) -> None:
        self._store = store
        self._label = label
        self._tasks = tasks
        self._progress = progress
        self._pool = pool

    @property
    def scratch(self) -> Path:
        """In the run directory; made when it is asked for."""
        path = self._store.scratch
        with writing(path):
            path.mkdir(parents=True, exist_ok=True)
        return path

    def __len__(self) -> int:
        return len(self._tasks)

    def shard(self, number: int) -> Shard:
        """See `Shards`."""
        task = self._tasks[number]
        return self._store.joined(task.key, task.parts)

    def map(self, look: Callable[..., R], *given: Iterable[Any], step: str = "") -> Iterator[R]:
        """See `Shards`."""

        def at(task: ShardTask, values: Sequence[Any]) -> R:
            shard = self._store.joined(task.key, task.parts)
            return look(shard, alive_rows(shard.table), *values)

        values = zip(*given, strict=True) if given else repeat(())
        results = self._ahead(lambda each: at(*each), zip(self._tasks, values, strict=False))
        rows = [task.parts[0][1].rows for task in self._tasks]
        yield from self._told(results, rows, sum(rows), step)

    def spread(self, work: Callable[[T], R], items: Iterable[T], *, step: str = "") -> Iterator[R]:
        """See `Shards`."""
        yield from self._told(self._ahead(work, items), repeat(1), 0, step)

    def _told(
        self, results: Iterator[R], sizes: Iterable[int], total: int, step: str
    ) -> Iterator[R]:
        """The results, each told to the progress with its size."""
        self._progress.start(f"{self._label}, {step}" if step else self._label, total)
        try:
            for result, size in zip(results, sizes, strict=False):
                self._progress.advance(size)
                yield result
        finally:
            self._progress.finish()

    def _ahead(self, work: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        """Results in order, computed in the threads, a few before they are taken."""
        waiting: deque[Future[R]] = deque()
        rest = iter(items)
        while True:
            room = cores() + _AHEAD - len(waiting)
            waiting.extend(self._pool.submit(work, item) for item in islice(rest, room))
            if not waiting:
                return
            yield waiting.popleft().result()


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def with_ids(stage: Stage, shard: Shard, columns: pa.Table) -> pa.Table:
    """Check a stage's output against its promise and put the row ids in front.

    Raises:
        TypeError: The stage returned other columns or another number of rows than it promised.
    """
    promised = stage.adds()
    if not columns.schema.equals(promised) or columns.num_rows != shard.rows:
        raise TypeError(
            f"stage {stage.name!r} returned {columns.num_rows} rows of {columns.schema.names}, "
            f"promised {shard.rows} rows of {promised.names}"
        )
    return columns.add_column(0, "id", shard.table["id"])
