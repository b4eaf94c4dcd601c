"""What an engine does: compute the shards that it is given, anywhere, and hand each one back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa

from clear_pipeline.manifest import Part
from clear_pipeline.schema import JSON
from clear_pipeline.stages.base import Context, DatasetStage, Stage

Done = Callable[[str, pa.Table], None]
"""Called once per finished shard with its key and its columns (`id` first)."""


@dataclass(frozen=True, slots=True)
class ShardTask:
    """One shard for one stage.

    Attributes:
        key: The shard.
        parts: (folder, part) to join, `rows` first.
        state: What the stage's `combine` returned for this shard; None for a row-wise stage.
    """

    key: str
    parts: tuple[tuple[str, Part], ...]
    state: JSON = None


class Engine(Protocol):
    """Where shards run."""

    def summarize(self, stage: DatasetStage, tasks: Sequence[ShardTask], ctx: Context) -> list[Any]:
        """`stage.summarize` of every shard, in order."""
        ...

    async def annotate(
        self, stage: Stage, tasks: Sequence[ShardTask], ctx: Context, done: Done
    ) -> None:
        """`stage.annotate` of every shard; `done` is called for each as soon as it is ready.

        Raises:
            PendingError: Shards wait for a batch; all others are done.
        """
        ...
