"""Shards on a Ray cluster: workers compute, this process owns the models and writes the files.

Cache, limits, budget and the record of spend stay in this process, which is the only one that
writes them; workers ask it through one actor (`engine.relay`). A worker that dies costs the work on
its shard alone: Ray gives the shard to another one, whose questions are answered from the cache.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain, islice
from typing import Any, Final, TypeVar

import pyarrow as pa

from clear_pipeline.engine.base import Parts, ShardTask
from clear_pipeline.engine.cluster import as_here
from clear_pipeline.engine.relay import Question, Relay, Reply, Report, replied
from clear_pipeline.engine.shards import StoredShards
from clear_pipeline.engine.worker import Assignment, Hearing, annotate_shard
from clear_pipeline.llm.pending import Independent
from clear_pipeline.stages.base import Context, Progress, Stage
from clear_pipeline.store import Store

T = TypeVar("T")
R = TypeVar("R")

_AGAIN: Final = 3
"""So often the work of a worker that died is done again."""
_PER_CPU: Final = 2
"""Pieces of work under way or waiting, for each processor of the cluster."""
_OPEN_CALLS: Final = 1_000_000
"""Of the relay, more than all rows in flight can ask: no answer may wait behind the questions."""


class RayEngine:
    """Computes on the cluster that this process is connected to.

    Args:
        store: Where the shards lie, at a path that every node sees.
    """

    def __init__(self, store: Store) -> None:
        import ray

        self._store = Store(store.directory.absolute())
        self._cpus = max(1, int(ray.cluster_resources().get("CPU", 1)))

    @contextmanager
    def shards(
        self, label: str, tasks: Sequence[ShardTask], progress: Progress
    ) -> Iterator[StoredShards]:
        """All shards, each sweep spread over the cluster."""
        workers = _Cluster(label, _PER_CPU * self._cpus)
        try:
            yield StoredShards(self._store, label, tasks, progress, workers)
        finally:
            workers.stop()
            shutil.rmtree(self._store.scratch, ignore_errors=True)

    async def annotate(
        self, stage: Stage, tasks: Iterable[ShardTask], ctx: Context, parts: Parts
    ) -> None:
        """Annotate every shard; this process writes its columns.

        Rows in flight are shared out among the shards that are computed at the same time.

        Raises:
            PendingError: Shards wait for a batch; all others are done.
            RunFailedError: The relay died, or a shard's workers did again and again.
        """
        import ray

        rest = iter(tasks)
        first = list(islice(rest, self._cpus))
        if not first:
            return
        assignment = Assignment(
            stage=stage,
            store=self._store,
            models={role: (m.identity, m.capabilities) for role, m in ctx.models.items()},
            rows_in_flight=max(1, ctx.rows_in_flight // len(first)),
            records={
                kind: record.model_copy(update={"parts": {}})  # as many as there are shards
                for kind, record in ctx.records.items()
            },
        )
        given, hearing = ray.put(assignment), Hearing(ctx)
        rest = chain(first, rest)
        with _relay(ctx) as relay, Independent() as independent:

            async def work() -> None:
                for task in rest:
                    with independent.part():
                        columns, report = await _annotated(stage, given, task, ctx, relay)
                        hearing.hear(task.key, report)
                        parts.enter(task.key, parts.write(task.key, columns))

            try:
                async with asyncio.TaskGroup() as group:
                    answering = group.create_task(_answering(stage.name, relay, ctx, hearing))
                    workers = [group.create_task(work()) for _ in range(_PER_CPU * self._cpus)]
                    await asyncio.wait(workers)
                    answering.cancel()
            except BaseExceptionGroup as failures:
                raise _first(failures) from None


class _Cluster:
    """See `Workers`.

    Args:
        label: Of the stage.
        most: As in `Workers`.
    """

    def __init__(self, label: str, most: int) -> None:
        self.most = most
        self._label = label
        self._running: set[Any] = set()

    def starter(self, work: Callable[[T], R]) -> Callable[[T], Callable[[], R]]:
        """See `Workers`."""
        import ray

        remote = ray.remote(_done).options(max_retries=_AGAIN)
        given = ray.put(work)

        def start(item: T) -> Callable[[], R]:
            ref = remote.remote(given, item)
            self._running.add(ref)
            return lambda: self._result(ref)

        return start

    def _result(self, ref: Any) -> Any:  # noqa: ANN401  # whatever the work returns
        import ray

        self._running.discard(ref)
        with as_here(self._label):
            return ray.get(ref)

    def stop(self) -> None:
        """End the work that nobody waits for any more."""
        import ray

        for ref in self._running:
            ray.cancel(ref, force=True)
        self._running.clear()


def _done(work: Callable[[T], R], item: T) -> R:
    return work(item)


@contextmanager
def _relay(ctx: Context) -> Iterator[Any]:
    """The actor that questions pass through, on this node; None where no model is asked."""
    if not ctx.models:
        yield None
        return
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    actor = ray.remote(Relay).options(
        num_cpus=0, max_concurrency=_OPEN_CALLS, scheduling_strategy=here
    )
    relay = actor.remote()
    try:
        yield relay
    finally:
        ray.kill(relay)


async def _annotated(
    stage: Stage,
    given: Any,  # noqa: ANN401  # a reference
    task: ShardTask,
    ctx: Context,
    relay: Any,  # noqa: ANN401  # a handle
) -> tuple[pa.Table, Report]:
    """What a worker says of a shard; it stops when this is cancelled."""
    import ray

    remote = ray.remote(_annotate_shard).options(max_retries=_AGAIN)
    ref = remote.remote(given, task, dict(ctx.found), relay)
    try:
        with as_here(stage.name):
            columns, report = await ref
    except BaseException:
        ray.cancel(ref, force=True)
        raise
    return columns, report


def _annotate_shard(
    assignment: Assignment,
    task: ShardTask,
    found: Mapping[str, bool],
    relay: Any,  # noqa: ANN401  # a handle
) -> tuple[pa.Table, Report]:
    """`annotate_shard` in a worker."""

    def ask(question: Question) -> Awaitable[Reply]:
        asked: Awaitable[Reply] = relay.ask.remote(question)
        return asked

    return annotate_shard(assignment, task, found, ask)


async def _answering(
    label: str,
    relay: Any,  # noqa: ANN401  # a handle
    ctx: Context,
    hearing: Hearing,
) -> None:
    """Answer the questions of the workers until this is cancelled."""
    if relay is None:
        return

    async def one(ticket: int, question: Question) -> None:
        relay.answer.remote(ticket, await replied(ctx.models, question))

    async with asyncio.TaskGroup() as group:
        while True:
            with as_here(label):
                taken = await relay.take.remote()
            for ticket, question in taken:
                hearing.hear(question.key, question.report)
                group.create_task(one(ticket, question))


def _first(failures: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first failure of a group of groups."""
    error: BaseException = failures
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
