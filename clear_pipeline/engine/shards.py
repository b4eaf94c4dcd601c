"""All shards of a run as the survey of a stage sees them, wherever they are read."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice, repeat
from pathlib import Path
from typing import Any, Protocol, TypeVar

from clear_pipeline.durable import writing
from clear_pipeline.engine.base import ShardTask
from clear_pipeline.stages.base import ALIVE_BY, Progress, Shard, alive_rows
from clear_pipeline.store import Store

T = TypeVar("T")
R = TypeVar("R")


class Workers(Protocol):
    """What computes the pieces of a sweep."""

    @property
    def most(self) -> int:
        """So many pieces may be under way, or wait for their result to be taken."""
        ...

    def starter(self, work: Callable[[T], R]) -> Callable[[T], Callable[[], R]]:
        """What starts `work` on an item and returns what waits for the result."""
        ...


class StoredShards:
    """See `stages.base.Shards`; memory holds a few shards at a time.

    Args:
        store: Where the shards lie.
        label: Of the stage, for the progress.
        tasks: One per shard, in order.
        progress: Told of each sweep.
        workers: What computes.
    """

    def __init__(
        self,
        store: Store,
        label: str,
        tasks: Sequence[ShardTask],
        progress: Progress,
        workers: Workers,
    ) -> None:
        self._store = store
        self._label = label
        self._tasks = tasks
        self._progress = progress
        self._workers = workers

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

    def map(
        self,
        look: Callable[..., R],
        *given: Iterable[Any],
        step: str = "",
        columns: Collection[str] | None = None,
    ) -> Iterator[R]:
        """See `Shards`."""
        values = zip(*given, strict=True) if given else repeat(())
        results = ahead(
            self._workers,
            partial(_looked_at, self._store, look, columns),
            zip(self._tasks, values, strict=False),
        )
        rows = [task.parts[0][1].rows for task in self._tasks]
        yield from self._told(results, rows, sum(rows), step)

    def spread(self, work: Callable[[T], R], items: Iterable[T], *, step: str = "") -> Iterator[R]:
        """See `Shards`."""
        results = ahead(self._workers, work, items)
        yield from self._told(results, repeat(0), 0, step)  # items are no rows

    def _told(
        self, results: Iterator[R], rows: Iterable[int], total: int, step: str
    ) -> Iterator[R]:
        """The results, each told to the progress with its rows."""
        self._progress.start(f"{self._label}, {step}" if step else self._label, total)
        try:
            for result, size in zip(results, rows, strict=False):
                self._progress.advance(size)
                yield result
        finally:
            self._progress.finish()


def ahead(workers: Workers, work: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """Results in order, computed by the workers, a few before they are taken."""
    start = workers.starter(work)
    waiting: deque[Callable[[], R]] = deque()
    rest = iter(items)
    while True:
        room = workers.most - len(waiting)
        waiting.extend(start(item) for item in islice(rest, room))
        if not waiting:
            return
        yield waiting.popleft()()


def _looked_at(
    store: Store,
    look: Callable[..., R],
    columns: Collection[str] | None,
    task_and_values: tuple[ShardTask, Sequence[Any]],
) -> R:
    """Read a shard, and look at it."""
    task, values = task_and_values
    wanted = None if columns is None else {*columns, *ALIVE_BY}
    shard = store.joined(task.key, task.parts, wanted)
    return look(shard, alive_rows(shard.table), *values)
