"""Rows in the order of (confidence, content hash, id), with the confidences alone in memory.

Hashes and ids part rows of one confidence only, so they are read for those rows, when they decide.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from typing import Final, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from clear_pipeline.stages.base import Shard, Shards
from clear_pipeline.stages.confidence import Key

Confidences: TypeAlias = NDArray[np.float64]
By: TypeAlias = Callable[[pa.Table], pa.ChunkedArray]
"""The confidence of each row of a shard. A function of a module, as `Shards.map` asks for."""
_TIE_BREAK: Final = ("content_hash", "id")
_LARGEST_FIRST: Final = [(name, "descending") for name in _TIE_BREAK]


@dataclass(frozen=True)
class Ranking:
    """Ranks 0 for the most confident row to `len(ranking) - 1`.

    Attributes:
        confidences: In the order of the rows.
        tied: The `content_hash` and `id` of all rows of one confidence, in the order of the rows.
    """

    confidences: Confidences
    tied: Callable[[float], pa.Table]

    @classmethod
    def of_keys(cls, keys: Iterable[Key]) -> Ranking:
        """Of rows whose keys are at hand."""
        listed = list(keys)

        def tied(confidence: float) -> pa.Table:
            same = [key[1:] for key in listed if key[0] == confidence]
            columns = zip(*same, strict=True)
            return pa.table([pa.array(column, pa.string()) for column in columns], _TIE_BREAK)

        return cls(np.array([key[0] for key in listed], np.float64), tied)

    @classmethod
    def of_shards(cls, shards: Shards, confidences: Confidences, by: By) -> Ranking:
        """Of the alive rows of all shards, whose `confidences` were read already."""

        def tied(confidence: float) -> pa.Table:
            look = partial(tied_rows, by=by, confidence=confidence)
            return pa.concat_tables(shards.map(look, step="ties"))

        return cls(confidences, lru_cache(maxsize=1)(tied))

    def __len__(self) -> int:
        return len(self.confidences)

    @cached_property
    def ranked(self) -> Confidences:
        """The confidences, largest first."""
        return np.sort(self.confidences)[::-1]

    def above(self, confidence: float) -> int:
        """How many rows have more."""
        return len(self) - int(np.searchsorted(self.ranked[::-1], confidence, side="right"))

    def with_just(self, confidence: float) -> int:
        """How many rows have exactly so much."""
        return int(np.count_nonzero(self.confidences == confidence))

    def key(self, rank: int) -> Key:
        """The key of the row of that rank."""
        confidence = float(self.ranked[rank])
        tied = self.tied(confidence)
        order = pc.sort_indices(tied, sort_keys=_LARGEST_FIRST)
        row = order[rank - self.above(confidence)].as_py()
        return (confidence, *(tied[name][row].as_py() for name in _TIE_BREAK))

    def first(self, rows: int) -> NDArray[np.bool_]:
        """Which rows are the first so many, in the order of the rows; at least one."""
        confidence = float(self.ranked[rows - 1])
        chosen = self.confidences > confidence
        same = np.flatnonzero(self.confidences == confidence)
        wanted = rows - self.above(confidence)
        if wanted < len(same):
            order = pc.sort_indices(self.tied(confidence), sort_keys=_LARGEST_FIRST)
            same = same[order.to_numpy()[:wanted]]
        chosen[same] = True
        return chosen


def alive_values(column: pa.ChunkedArray, alive: Sequence[bool]) -> NDArray[np.generic]:
    """The values of the rows that are alive, as numpy has them."""
    values: NDArray[np.generic] = column.filter(pa.array(alive, pa.bool_())).to_numpy()
    return values


def alive_confidences(shard: Shard, alive: Sequence[bool], *, by: By) -> Confidences:
    """The confidences of the rows of a shard that could still be exported."""
    return np.asarray(alive_values(by(shard.table), alive), np.float64)


def ranking_of(shards: Shards, by: By) -> Ranking:
    """The rows of all shards that could still be exported, in one sweep."""
    found = shards.map(partial(alive_confidences, by=by))
    return Ranking.of_shards(shards, np.concatenate([np.empty(0), *found]), by)


def tied_rows(shard: Shard, alive: Sequence[bool], *, by: By, confidence: float) -> pa.Table:
    """Hash and id of the alive rows of one confidence."""
    same = pc.fill_null(pc.equal(by(shard.table), confidence), fill_value=False)
    wanted = pc.and_(same, pa.array(alive, pa.bool_()))
    return shard.table.select(_TIE_BREAK).filter(wanted)
