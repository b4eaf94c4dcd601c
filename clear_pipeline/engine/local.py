"""The local engine: shards one after the other in this process, rows of a shard in parallel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from clear_pipeline.engine.base import Done, ShardTask
from clear_pipeline.llm.pending import Independent
from clear_pipeline.stages.base import Context, DatasetStage, Shard, Stage, alive_rows
from clear_pipeline.store import Store


class LocalEngine:
    """Computes in this process; memory holds one shard at a time.

    Args:
        store: Where the shards lie.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def summarize(self, stage: DatasetStage, tasks: Sequence[ShardTask], ctx: Context) -> list[Any]:
        """Read and summarise every shard, in order."""
        partials = []
        for task in tasks:
            shard = self._store.joined(task.key, task.parts)
            partials.append(stage.summarize(shard, alive_rows(shard.table)))
            ctx.progress.advance(shard.rows)
        return partials

    async def annotate(
        self, stage: Stage, tasks: Sequence[ShardTask], ctx: Context, done: Done
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
