"""The local engine: shards are annotated one after the other, rows of a shard in parallel.

A survey, which asks no model, looks at as many shards at once as there are cores.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from clear_pipeline.engine.base import Done, ShardTask, annotated
from clear_pipeline.engine.shards import StoredShards
from clear_pipeline.llm.pending import Independent
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
        with ThreadPoolExecutor(cores()) as pool:
            try:
                yield StoredShards(self._store, label, tasks, progress, _Threads(pool))
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
                with independent.part():
                    done(task.key, await annotated(stage, task, self._store, ctx))


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
