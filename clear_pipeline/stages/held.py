"""Shards that lie in memory, seen as an engine would show them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from clear_pipeline.stages.base import Shard

T = TypeVar("T")
R = TypeVar("R")


class HeldShards:
    """All shards of a sample; looked at one after the other, in this thread.

    Args:
        shards: Each with the flags of its alive rows.
    """

    def __init__(self, shards: Sequence[tuple[Shard, Sequence[bool]]]) -> None:
        self._shards = shards

    @cached_property
    def _directory(self) -> tempfile.TemporaryDirectory[str]:
        return tempfile.TemporaryDirectory(prefix="clear-pipeline-")

    @property
    def scratch(self) -> Path:
        """Made when it is asked for; goes with this object."""
        return Path(self._directory.name)

    def __len__(self) -> int:
        return len(self._shards)

    def map(self, look: Callable[..., R], *given: Iterable[Any], step: str = "") -> Iterator[R]:
        """See `Shards`."""
        del step
        for (shard, alive), *values in zip(self._shards, *given, strict=True):
            yield look(shard, alive, *values)

    def spread(self, work: Callable[[T], R], items: Iterable[T], *, step: str = "") -> Iterator[R]:
        """See `Shards`."""
        del step
        return map(work, items)
