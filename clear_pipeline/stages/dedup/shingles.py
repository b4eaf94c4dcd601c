"""Texts as sets of word runs (shingles), hashed to 50 bits, for many texts at once.

Two texts of 1,000 words that share no shingle share a hash with probability 1e-9, so equal hashes
are taken for equal shingles, and Jaccard similarities over them for exact. The other 14 bits of a
number hold which text of a block the shingle is of: then one plain sort does what sets need.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from clear_pipeline.stages.dedup.words import I64, U64, Tokens, bounds, expand, mix

T = TypeVar("T", bound=np.generic)

BITS: Final = np.uint64(50)
BLOCK: Final = (1 << 14) - 1
"""Most texts, and most pairs, that are looked at together."""
_HASH: Final = np.uint64((1 << 50) - 1)


@dataclass(frozen=True, slots=True, eq=False)
class Shingles:
    """The shingles of many texts, one text after the other. Every text has at least one.

    Attributes:
        hashes: Below 2^50; a shingle that a text repeats may stand more than once.
        offsets: Text i has the shingles `offsets[i]:offsets[i + 1]`.
    """

    hashes: U64
    offsets: I64

    @property
    def texts(self) -> int:
        """How many texts."""
        return len(self.offsets) - 1


def shingle(tokens: Tokens, width: int) -> Shingles:
    """All runs of `width` words of each text; a shorter text is one shingle.

    So a short text has no near-duplicate but itself: there, one other word is another question.
    """
    factors = mix(np.arange(1, width + 1, dtype=np.uint64)) | np.uint64(1)
    words = len(tokens.hashes)
    padded = np.concatenate([tokens.hashes, np.zeros(width - 1, np.uint64)])
    sums = padded[:words] * factors[0]
    for step in range(1, width):
        sums += padded[step : step + words] * factors[step]
    lengths = tokens.lengths
    short = np.flatnonzero(lengths < width)
    if len(short):
        own = expand(tokens.offsets[short], lengths[short])
        place = own - np.repeat(tokens.offsets[short], lengths[short])
        begins = bounds(lengths[short])[:-1]
        sums[tokens.offsets[short]] = np.add.reduceat(
            tokens.hashes[own] * factors[place] + np.uint64(1), begins
        )
    counts = np.maximum(lengths - width + 1, 1)
    runs = expand(tokens.offsets[:-1], counts)
    return Shingles(mix(sums[runs]) & _HASH, bounds(counts))


def without(shingles: Shingles, common: U64, whole: U64, *, width: int) -> Shingles:
    """Leave out common shingles, and those that share a word with one.

    So what stands at the seam of a template and its filling counts as little as the template. A
    text of which nothing is left is one shingle, all of it: it has similarity 1 to the same words,
    else 0.

    Args:
        shingles: Of some texts, from `shingle`.
        common: Sorted.
        whole: `Tokens.whole` of the texts.
        width: Words per shingle.
    """
    if len(common) == 0:
        return shingles
    kept = ~_near(_among(shingles.hashes, common), shingles.offsets, width - 1)
    before = bounds(kept.astype(np.int64))
    counts = np.diff(before[shingles.offsets])
    empty = np.flatnonzero(counts == 0)
    if len(empty) == 0:
        return Shingles(shingles.hashes[kept], bounds(counts))
    hashes = shingles.hashes.copy()
    first = shingles.offsets[empty]
    # Another mix keeps whole texts apart from shingles, also from their own.
    hashes[first] = mix(~whole[empty]) & _HASH
    kept[first] = True
    counts[empty] = 1
    return Shingles(hashes[kept], bounds(counts))


def _near(marked: NDArray[np.bool_], offsets: I64, distance: int) -> NDArray[np.bool_]:
    """Which places have a marked one at most so far from them, in the same text."""
    before = bounds(marked.astype(np.int64))
    places = np.arange(len(marked))
    lengths = np.diff(offsets)
    start = np.maximum(places - distance, np.repeat(offsets[:-1], lengths))
    stop = np.minimum(places + distance + 1, np.repeat(offsets[1:], lengths))
    near: NDArray[np.bool_] = before[stop] > before[start]
    return near


def _among(hashes: U64, common: U64) -> NDArray[np.bool_]:
    place = np.minimum(np.searchsorted(common, hashes), len(common) - 1)
    found: NDArray[np.bool_] = common[place] == hashes
    return found


def members(shingles: Shingles) -> U64:
    """The sets: (text << 50 | hash), ascending, each once; at most `BLOCK` texts."""
    texts = np.repeat(np.arange(shingles.texts, dtype=np.uint64), np.diff(shingles.offsets))
    return once(np.sort((texts << BITS) | shingles.hashes))


def once(ascending: NDArray[T]) -> NDArray[T]:
    """Each number once."""
    if len(ascending) == 0:
        return ascending
    found: NDArray[T] = ascending[np.append(True, ascending[1:] != ascending[:-1])]
    return found


def hash_of(member: U64) -> U64:
    """The shingles of `members`."""
    return member & _HASH


def set_sizes(sets: U64, texts: int) -> I64:
    """How many members each of the sets of `members` has."""
    return np.diff(_offsets(sets, texts))


def _offsets(sets: U64, texts: int) -> I64:
    """Where each set begins, and where the last one ends."""
    offsets: I64 = np.searchsorted(sets, np.arange(texts + 1, dtype=np.uint64) << BITS)
    return offsets


def jaccard(sets: U64, texts: int, first: I64, second: I64) -> NDArray[np.float64]:
    """Similarity of the sets `first[k]` and `second[k]`, in (0, 1]; at most `BLOCK` pairs.

    Args:
        sets: From `members`.
        texts: How many.
        first: Texts.
        second: Texts.
    """
    offsets = _offsets(sets, texts)
    sizes = np.diff(offsets)
    pairs = np.arange(len(first), dtype=np.uint64)
    of_pairs = []
    for side in (first, second):
        taken = hash_of(sets[expand(offsets[side], sizes[side])])
        of_pairs.append((np.repeat(pairs, sizes[side]) << BITS) | taken)
    both = np.sort(np.concatenate(of_pairs))
    twice = both[1:][both[1:] == both[:-1]] >> BITS
    shared = np.bincount(twice.astype(np.int64), minlength=len(first))
    similarity: NDArray[np.float64] = shared / (sizes[first] + sizes[second] - shared)
    return similarity
