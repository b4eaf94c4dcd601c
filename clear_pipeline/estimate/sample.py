"""Which rows an estimate is rehearsed on: spread evenly over the lengths of all rows."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clear_pipeline.stages.base import Shard, alive_rows


@dataclass(frozen=True, slots=True)
class Sample:
    """Some of the rows that may still reach the export.

    Attributes:
        table: The rows, shortest first, with the columns of earlier stages.
        total: How many rows there are in all.
        first: The first rows in the order of the run: those that it asks about first.
    """

    table: pa.Table
    total: int
    first: pa.Table

    @property
    def scale(self) -> float:
        """What one sampled row stands for."""
        return self.total / max(len(self.table), 1)


def take(read: Callable[[], Iterable[Shard]], *, rows: int, first: int, seed: int = 0) -> Sample:
    """Draw `rows` of the rows that are alive, or all if there are fewer.

    Ordered by length, every n-th row is taken from a random start: so the mean length of the
    sample is nearly that of all rows, and with it the mean of tokens.

    Args:
        read: Reads all shards, with the columns of earlier stages. Called twice, so that no more
            than one of them has to be in memory.
        rows: How many to draw.
        first: How many to take from the beginning.
        seed: Of the start.
    """
    lengths = [pc.binary_length(_alive(shard)["original"]).to_numpy() for shard in read()]
    order = np.argsort(np.concatenate(lengths), kind="stable")
    places = order[_spread(len(order), rows, random.Random(seed))]  # noqa: S311 -- no secret
    taken, beginning, start = [], [], 0
    for shard in read():
        table = _alive(shard)
        here = np.sort(places[(places >= start) & (places < start + len(table))]) - start
        taken.append(table.take(pa.array(here)))
        beginning.append(table.slice(0, max(first - start, 0)))
        start += len(table)
    sample, rank = pa.concat_tables(taken), np.argsort(np.argsort(places))
    return Sample(sample.take(pa.array(rank)), start, pa.concat_tables(beginning))


def _alive(shard: Shard) -> pa.Table:
    return shard.table.filter(pa.array(alive_rows(shard.table), pa.bool_()))


def _spread(total: int, wanted: int, rng: random.Random) -> Sequence[int]:
    """`wanted` places among `total`, at equal distances."""
    if wanted >= total:
        return range(total)
    step = total / wanted
    start = rng.random() * step
    return [int(start + n * step) for n in range(wanted)]
