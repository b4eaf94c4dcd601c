"""Pairs of rows with nearly the same vector: every pair that is found is verified exactly.

The search is exact too. A rotation puts most of what tells vectors apart into their first few
numbers; what the others could add to a cosine is at most the product of their lengths. So the
product of two shortened vectors, each with the length of its rest as one more number, is a bound:
pairs below it are left out unseen, and the others are computed from the vectors themselves.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from clear_pipeline.stages.dedup.clusters import F64, Pairs
from clear_pipeline.stages.dedup.spill import Spilled
from clear_pipeline.stages.dedup.words import I64

T = TypeVar("T")
R = TypeVar("R")
F16 = NDArray[np.float16]
F32 = NDArray[np.float32]

VECTORS: Final = "vectors"
BOUNDS: Final = "bounds"
"""The files in the scratch directory."""
MARGIN: Final = 1e-4
"""The bound is computed in 32 bits; it may be off by less than this."""

_SAMPLE: Final = 8192
"""Rows that a rotation is fitted to."""
_PROBES: Final = 2048
"""Rows whose pairs tell how many a bound lets through."""
_LENGTHS: Final = (16, 32, 48, 64, 96, 128, 192, 256)
"""Numbers that a shortened vector may have."""
_VERIFYING: Final = 40
"""A pair that is verified takes as long as so many times its numbers in the bound."""
_ROWS: Final = 512
_COLUMNS: Final = 4096
"""Rows whose bounds are computed at once."""
_PAIRS: Final = 4096
"""Pairs that are verified at once."""


class Spread(Protocol):
    """As `map` of one iterable; may work on several items at once. See `Shards.spread`."""

    def __call__(self, work: Callable[[T], R], items: Iterable[T], /) -> Iterator[R]:
        """The results, in order."""
        ...


def similar_pairs(
    rows: Iterable[tuple[F16, I64]],
    *,
    threshold: float,
    neighbours: int,
    scratch: Path,
    parts: int = 1,
    spread: Spread = map,
) -> Pairs:
    """Find rows of nearly the same direction.

    Each row is paired with the first `neighbours` of the earlier rows that are similar to it, so
    that many rows of one meaning take no quadratic number of pairs; equal vectors, with the first
    of them alone. Vectors lie in files; memory holds a few thousand of them.

    Args:
        rows: All rows in order, any number of them at once: vectors of one length, none of them
            zero, and the group of each. Rows of different groups are no pair.
        threshold: Least similarity, in (0, 1].
        neighbours: At least 1.
        scratch: A directory, for files that nobody needs afterwards.
        parts: A vector is so many vectors of equal length, one after the other, and the similarity
            of two rows is the least cosine of these; an empty (zero) one is similar to an empty
            one alone.
        spread: Computes blocks of rows.

    Returns:
        Pairs by their first row, then by their second.

    Raises:
        ValueError: The vectors differ in length.
    """
    size, content, groups = _spilled(rows, scratch / VECTORS)
    _, first_of = np.unique(content, return_index=True)
    again = np.flatnonzero(first_of[content] != np.arange(len(content)))
    found = [Pairs(first_of[content[again]], again, np.ones(len(again)))]
    if len(first_of) > 1:
        distinct = first_of[np.argsort(groups[first_of], kind="stable")]
        vectors = _Vectors(scratch / VECTORS, size, parts)
        bounds = _bounds(vectors, distinct, threshold, scratch / BOUNDS)
        search = _Search(vectors, bounds, distinct, groups[distinct], threshold, neighbours)
        found += spread(search.pairs, search.blocks())
    pairs = _together(found)
    order = np.lexsort((pairs.second, pairs.first))
    return Pairs(pairs.first[order], pairs.second[order], pairs.similarity[order])


def _spilled(rows: Iterable[tuple[F16, I64]], path: Path) -> tuple[int, I64, I64]:
    """Write the vectors to a file, one after the other.

    Returns:
        Their length; per row the number of its vector and group, equal for equal ones, as they
        first appear; and its group.

    Raises:
        ValueError: They differ in length.
    """
    size = 0
    digests: list[bytes] = []
    groups = [np.zeros(0, np.int64)]
    numbers: Spilled[np.float16] = Spilled(path, np.float16)
    for vectors, group in rows:
        if len(vectors) == 0:
            continue
        size = size or vectors.shape[1]
        if vectors.shape[1] != size:
            raise ValueError(f"of {size} and {vectors.shape[1]} numbers")
        plain = np.ascontiguousarray(vectors, np.float16)
        numbers.append(plain.ravel())
        groups.append(group)
        digests += (
            hashlib.blake2b(vector.data, digest_size=16, key=name.tobytes()).digest()
            for vector, name in zip(plain, group, strict=True)
        )
    numbers.flush()
    content = pa.array(digests, pa.binary(16)).dictionary_encode().indices
    return size, content.to_numpy().astype(np.int64), np.concatenate(groups)


@dataclass(frozen=True, slots=True)
class _Vectors:
    """Vectors in a file, by row.

    Attributes:
        path: Of the file.
        size: Numbers of a vector.
        parts: See `similar_pairs`.
    """

    path: Path
    size: int
    parts: int

    def take(self, rows: I64) -> F64:
        """The vectors of these rows."""
        # Mapped for this once: pages that a map has touched count as memory of the process.
        vectors = np.memmap(self.path, np.float16, "r").reshape(-1, self.size)
        return vectors[rows].astype(np.float64)

    def units(self, rows: I64) -> F64:
        """The same with length 1."""
        vectors = self.take(rows)
        unit: F64 = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return unit

    def similarity(self, first: I64, second: I64) -> F64:
        """Exact, in 64 bits: the least cosine of the parts."""
        least = [np.empty(0)]
        for start in range(0, len(first), _PAIRS):
            at = slice(start, start + _PAIRS)
            one, other = (
                self.take(side[at]).reshape(-1, self.parts, self.size // self.parts)
                for side in (first, second)
            )
            products = np.einsum("ijk,ijk->ij", one, other)
            lengths = [np.sqrt(np.einsum("ijk,ijk->ij", side, side)) for side in (one, other)]
            both = lengths[0] * lengths[1]
            cosines = products / np.where(both > 0, both, 1)
            cosines[(lengths[0] == 0) & (lengths[1] == 0)] = 1
            least.append(cosines.min(axis=1))
        return np.minimum(np.concatenate(least), 1)


@dataclass(frozen=True, slots=True, eq=False)
class _Bounds:
    """Shortened vectors in a file, see the module.

    Attributes:
        numbers: Of all of them.
        width: Numbers of one.
    """

    numbers: Spilled[np.float32]
    width: int

    def read(self, start: int, stop: int) -> F32:
        """Those from `start` to `stop`."""
        numbers = self.numbers.read(start * self.width, stop * self.width)
        return numbers.reshape(-1, self.width)


def _bounds(vectors: _Vectors, rows: I64, threshold: float, path: Path) -> _Bounds:
    """Shorten the vectors of `rows`, in that order."""
    shown = rows[np.linspace(0, len(rows) - 1, min(len(rows), _SAMPLE)).astype(np.int64)]
    sample = vectors.units(shown)
    _, axes = np.linalg.eigh(sample.T @ sample)
    axes = axes[:, ::-1]
    probes = sample[:: -(-len(sample) // _PROBES)]
    axes = axes[:, : _shortened(probes @ axes, threshold)]
    numbers: Spilled[np.float32] = Spilled(path, np.float32)
    for start in range(0, len(rows), _PAIRS):
        turned = vectors.units(rows[start : start + _PAIRS]) @ axes
        numbers.append(_with_rest(turned).ravel())
    numbers.flush()
    return _Bounds(numbers, axes.shape[1] + 1)


@dataclass(frozen=True, slots=True, eq=False)
class _Search:
    """Rows that stand group by group, and in order within each.

    Attributes:
        vectors: By row.
        bounds: By place in this order.
        rows: The row at each place.
        groups: The group at each place.
        threshold: Least similarity.
        neighbours: Pairs per row, at most.
    """

    vectors: _Vectors
    bounds: _Bounds
    rows: I64
    groups: I64
    threshold: float
    neighbours: int

    def blocks(self) -> list[tuple[int, int, int]]:
        """Work for `pairs`: places from, to, and where the group of the first of them begins."""
        starts = np.arange(0, len(self.rows), _ROWS)
        begin = np.searchsorted(self.groups, self.groups[starts])
        return [
            (start, min(start + _ROWS, len(self.rows)), first)
            for start, first in zip(starts.tolist(), begin.tolist(), strict=True)
        ]

    def pairs(self, block: tuple[int, int, int]) -> Pairs:
        """Pairs whose later row is in the block."""
        start, stop, begin = block
        rows, groups, mine = self.rows, self.groups, self.bounds.read(start, stop)
        room = np.full(stop - start, self.neighbours)
        found = [Pairs.none()]
        for left in range(begin, stop, _COLUMNS):
            right = min(left + _COLUMNS, stop)
            near = mine @ self.bounds.read(left, right).T >= self.threshold - MARGIN
            later, earlier = np.divmod(np.flatnonzero(near), right - left)
            earlier += left
            fits = (earlier < later + start) & (groups[earlier] == groups[later + start])
            fits &= (room > 0)[later]
            later, earlier = later[fits], earlier[fits]
            while len(later):
                # As many as a row still has room for, the earliest ones first.
                rank = np.arange(len(later)) - np.searchsorted(later, later)
                now = rank < room[later]
                one, other = rows[earlier[now]], rows[later[now] + start]
                similarity = self.vectors.similarity(one, other)
                alike = similarity >= self.threshold
                found.append(Pairs(one[alike], other[alike], similarity[alike]))
                room -= np.bincount(later[now][alike], minlength=len(room))
                rest = ~now & (room > 0)[later]
                later, earlier = later[rest], earlier[rest]
        return _together(found)


def _shortened(turned: F64, threshold: float) -> int:
    """How many numbers of the turned vectors make bounds for the least work in all."""
    size = turned.shape[1]
    upper = np.triu_indices(len(turned), 1)

    def work(length: int) -> float:
        bounds = _with_rest(turned[:, :length])
        through = float(np.mean((bounds @ bounds.T)[upper] >= threshold - MARGIN))
        return float(length + through * _VERIFYING * size)

    lengths = [length for length in _LENGTHS if length < size]
    return int(min([*lengths, size], key=work))


def _with_rest(shortened: F64) -> F32:
    """Shortened unit vectors, each with the length of what was left out of it."""
    rest = np.sqrt(np.maximum(1 - np.einsum("ij,ij->i", shortened, shortened), 0))
    return np.column_stack([shortened, rest]).astype(np.float32)


def _together(found: Sequence[Pairs]) -> Pairs:
    return Pairs(
        np.concatenate([pairs.first for pairs in found]),
        np.concatenate([pairs.second for pairs in found]),
        np.concatenate([pairs.similarity for pairs in found]),
    )
