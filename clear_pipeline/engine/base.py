"""What an engine does: compute the shards that it is given, anywhere, and hand each one back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa

from clear_pipeline.manifest import Part
from clear_pipeline.schema import JSON
from clear_pipeline.stages.base import (
    ALIVE_BY,
    Context,
    NarrowStage,
    Progress,
    Shards,
    Stage,
    alive_rows,
)
from clear_pipeline.store import Store


@dataclass(frozen=True, slots=True)
class ShardTask:
    """One shard for one stage.

    Attributes:
        key: The shard.
        parts: (folder, part) to join, `rows` first.
        state: What the stage's `survey` returned for this shard; None for a row-wise stage.
    """

    key: str
    parts: tuple[tuple[str, Part], ...]
    state: JSON = None


class Parts(Protocol):
    """Where the columns of finished shards go."""

    def write(self, key: str, columns: pa.Table) -> Part:
        """Write a shard's columns, `id` first; in any thread of the run's process.

        Raises:
            UnwritableError: The disk is full, or the directory may not be written.
        """
        ...

    def enter(self, key: str, part: Part) -> None:
        """Enter what was written as finished; in the thread of the run."""
        ...


class Engine(Protocol):
    """Where shards run."""

    def shards(
        self, label: str, tasks: Sequence[ShardTask], progress: Progress
    ) -> AbstractContextManager[Shards]:
        """All shards, for the survey of a dataset-wise stage.

        Args:
            label: Of the stage, for the progress.
            tasks: One per shard, in order; their states are not looked at.
            progress: Told of each sweep over the shards.
        """
        ...

    async def annotate(
        self, stage: Stage, tasks: Iterable[ShardTask], ctx: Context, parts: Parts
    ) -> None:
        """`stage.annotate` of every shard; each is written and entered as soon as it is ready.

        A task is taken when it is due, so that the states need not all be there at once.

        Raises:
            PendingError: Shards wait for a batch; all others are done.
        """
        ...


async def annotated(stage: Stage, task: ShardTask, store: Store, ctx: Context) -> pa.Table:
    """What a stage says of one shard, `id` first.

    Raises:
        TypeError: The stage returned other columns or another number of rows than it promised.
    """
    wanted = {*stage.reads(), *ALIVE_BY} if isinstance(stage, NarrowStage) else None
    shard = store.joined(task.key, task.parts, wanted)
    columns = await stage.annotate(shard, alive_rows(shard.table), task.state, ctx)
    promised = stage.adds()
    if not columns.schema.equals(promised) or columns.num_rows != shard.rows:
        raise TypeError(
            f"stage {stage.name!r} returned {columns.num_rows} rows of {columns.schema.names}, "
            f"promised {shard.rows} rows of {promised.names}"
        )
    return columns.add_column(0, "id", shard.table["id"])
