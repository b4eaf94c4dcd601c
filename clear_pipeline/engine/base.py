"""What an engine does: compute the shards that it is given, anywhere, and hand each one back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa

from clear_pipeline.manifest import Part
from clear_pipeline.schema import JSON
from clear_pipeline.stages.base import Context, Progress, Shards, Stage

Done = Callable[[str, pa.Table], None]
"""Called once per finished shard with its key and its columns (`id` first)."""


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
        self, stage: Stage, tasks: Iterable[ShardTask], ctx: Context, done: Done
    ) -> None:
        """`stage.annotate` of every shard; `done` is called for each as soon as it is ready.

        A task is taken when it is due, so that the states need not all be there at once.

        Raises:
            PendingError: Shards wait for a batch; all others are done.
        """
        ...
