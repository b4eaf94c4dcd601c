"""Candidate pairs by MinHash and banding.

Source: A. Broder, "On the resemblance and containment of documents", 1997; banding as in
Leskovec, Rajaraman and Ullman, "Mining of Massive Datasets", section 3.4.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from clear_pipeline.stages.dedup.shingles import Shingles
from clear_pipeline.stages.dedup.words import I64, U64

RECALL: Final = 0.985
"""Least probability that a pair exactly at the threshold becomes a candidate."""

WINDOW: Final = 16
"""How many followers in its bucket a text is paired with. All pairs in buckets up to this size;
in larger ones the work stays linear, and neighbours are those that agree in the next band too."""

_TOGETHER: Final = 256
"""Texts that are signed together: what they take fits into the processor's cache."""
_CHUNK: Final = 1 << 12
"""Shingles of one long text that are permuted together."""

U32: TypeAlias = NDArray[np.uint32]


def banding(threshold: float, permutations: int) -> tuple[int, int]:
    """Bands and rows per band: the most selective ones that reach `RECALL` at the threshold.

    A pair of Jaccard similarity s is a candidate with probability 1 - (1 - s^rows)^bands.

    Raises:
        ValueError: Not even one row per band reaches it.
    """
    for rows in range(permutations, 0, -1):
        bands = permutations // rows
        if 1 - (1 - threshold**rows) ** bands >= RECALL:
            return bands, rows
    raise ValueError(
        f"{permutations} permutations find too few pairs at threshold {threshold}; "
        "raise permutations or threshold"
    )


def signatures(shingles: Shingles, permutations: int) -> U32:
    """MinHash signatures, permutations x texts, as datasketch's `affine32` gives them.

    They are of the low 32 bits of the shingles' hashes, for many texts at once: hashing each
    shingle again, text by text, is what makes `MinHash.bulk` slow.
    """
    factor, offset = _permutations(permutations)
    hashes = _finalised(shingles.hashes.astype(np.uint32))
    counts = np.diff(shingles.offsets)
    order = np.argsort(-counts, kind="stable")
    out = np.empty((permutations, shingles.texts), np.uint32)
    for start in range(0, shingles.texts, _TOGETHER):
        texts = order[start : start + _TOGETHER]
        out[:, texts] = _least(hashes, shingles.offsets[texts], counts[texts], factor, offset)
    return out


@lru_cache(maxsize=4)
def _permutations(number: int) -> tuple[U32, U32]:
    """Factors, which are odd, and offsets: those of datasketch with its seed, 1.

    Drawn here, as importing datasketch takes longer than signing some 10,000 texts.
    """
    draw = np.random.RandomState(1)  # the generator that datasketch uses
    factor = draw.randint(0, 1 << 31, number, dtype=np.uint32) * np.uint32(2) + np.uint32(1)
    return factor, draw.randint(0, 1 << 32, number, dtype=np.uint32)


def _finalised(hashes: U32) -> U32:
    """What datasketch's affine schemes permute: MurmurHash3's finaliser of the hashes."""
    hashes = (hashes ^ (hashes >> np.uint32(16))) * np.uint32(0x85EBCA6B)
    hashes = (hashes ^ (hashes >> np.uint32(13))) * np.uint32(0xC2B2AE35)
    return hashes ^ (hashes >> np.uint32(16))


def _least(hashes: U32, begin: I64, count: I64, factor: U32, offset: U32) -> U32:
    """The least permuted hash of each text, permutations x texts.

    The n-th shingles of all texts are permuted together, for numpy is at its best on whole arrays.
    A text that has fewer gives its last one again. From where most have ended, the longer half
    goes on by itself.

    Args:
        hashes: Of all shingles.
        begin: Of each text, its first shingle.
        count: Of each text, its shingles, in descending order.
        factor: Of each permutation.
        offset: Of each permutation.
    """
    if len(begin) == 1:
        return _least_of_one(hashes[begin[0] : begin[0] + count[0]], factor, offset)
    factors, offsets = (np.repeat(each[:, None], len(begin), axis=1) for each in (factor, offset))
    steps = int(count[len(count) // 2])
    least = np.full_like(factors, np.iinfo(np.uint32).max)
    permuted = np.empty_like(factors)
    for step in range(steps):
        np.multiply(factors, hashes[begin + np.minimum(step, count - 1)], out=permuted)
        np.add(permuted, offsets, out=permuted)
        np.minimum(least, permuted, out=least)
    if longer := int((count > steps).sum()):
        rest = _least(hashes, begin[:longer] + steps, count[:longer] - steps, factor, offset)
        least[:, :longer] = np.minimum(least[:, :longer], rest)
    return least


def _least_of_one(hashes: U32, factor: U32, offset: U32) -> U32:
    """As `_least`, of one text."""
    parts = (hashes[start : start + _CHUNK] for start in range(0, len(hashes), _CHUNK))
    least = [(factor[:, None] * part + offset[:, None]).min(axis=1) for part in parts]
    found: U32 = np.min(least, axis=0)[:, None]
    return found


def band_keys(signed: U32, *, bands: int, rows: int) -> U64:
    """What two texts must have in common to share a bucket: bands x texts."""
    cut = signed[: bands * rows].reshape(bands, rows, -1)
    keys = np.zeros((bands, signed.shape[1]), np.uint64)
    for row in range(rows):
        keys ^= cut[:, row]
        keys *= np.uint64(0x9E3779B97F4A7C15)
        keys ^= keys >> np.uint64(29)
    return keys


def shared_buckets(keys: U64) -> tuple[I64, I64]:
    """The texts that share a bucket with another, and for each the number of its bucket.

    Args:
        keys: Of one band, a number per text.
    """
    order = np.argsort(keys)
    ordered = keys[order]
    new = np.append(True, ordered[1:] != ordered[:-1]) if len(keys) else np.zeros(0, bool)
    alone = new & np.append(new[1:], True) if len(keys) else new
    buckets = np.cumsum(new)
    return order[~alone], buckets[~alone]


def neighbours(texts: I64, buckets: I64, ties: tuple[U64, ...]) -> tuple[I64, I64]:
    """Pairs of texts of equal buckets, up to `WINDOW` places apart, first < second.

    Args:
        texts: From `shared_buckets`.
        buckets: From `shared_buckets`.
        ties: What large buckets are ordered by, the last one first, so that the pairs do not
            depend on the order of the texts.
    """
    order = np.lexsort((*ties, buckets))
    texts, buckets = texts[order], buckets[order]
    found: list[tuple[I64, I64]] = []
    for distance in range(1, WINDOW + 1):
        equal = np.flatnonzero(buckets[:-distance] == buckets[distance:])
        if len(equal) == 0:
            break
        one, other = texts[equal], texts[equal + distance]
        found.append((np.minimum(one, other), np.maximum(one, other)))
    first, second = zip(*found, strict=True) if found else ((), ())
    nothing = np.zeros(0, np.int64)
    return np.concatenate([nothing, *first]), np.concatenate([nothing, *second])
