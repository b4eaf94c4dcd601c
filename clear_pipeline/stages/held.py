"""Shards that lie in memory, seen as an engine would show them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from clear_pipeline.schema import JSON
from clear_pipeline.stages.base import Context, DatasetStage, Shard

T = TypeVar("T")
R = TypeVar("R")

Held = Sequence[tuple[Shard, Sequence[bool]]]
"""Shards, each with the flags of its alive rows."""


def surveyed(stage: DatasetStage, shards: Held, ctx: Context) -> list[JSON]:
    """What a stage comes to for each of these shards, as if they were all rows."""
    with tempfile.TemporaryDirectory(prefix="clear-pipeline-") as scratch:
        return list(stage.survey(HeldShards(shards, Path(scratch)), ctx))


class HeldShards:
    """Looked at one after the other, in this thread; see `Shards`.

    Args:
        shards: All of them.
        scratch: An empty directory.
    """

    def __init__(self, shards: Held, scratch: Path) -> None:
        self._shards = shards
        self.scratch = scratch

    def __len__(self) -> int:
        return len(self._shards)

    def shard(self, number: int) -> Shard:
        """See `Shards`."""
        return self._shards[number][0]

    def map(
        self,
        look: Callable[..., R],
        *given: Iterable[Any],
        step: str = "",
        columns: Collection[str] | None = None,
    ) -> Iterator[R]:
        """See `Shards`."""
        del step
        for (shard, alive), *values in zip(self._shards, *given, strict=True):
            yield look(_narrowed(shard, columns), alive, *values)

    def spread(self, work: Callable[[T], R], items: Iterable[T], *, step: str = "") -> Iterator[R]:
        """See `Shards`."""
        del step
        return map(work, items)


def _narrowed(shard: Shard, columns: Collection[str] | None) -> Shard:
    """The shard with these columns alone; those of which a field is wanted are there whole."""
    if columns is None:
        return shard
    wanted = {name.partition(".")[0] for name in columns}
    names = [name for name in shard.table.column_names if name in wanted]
    return Shard(shard.key, shard.table.select(names))
