"""Candidate pairs by MinHash and banding.

Source: A. Broder, "On the resemblance and containment of documents", 1997; banding as in
Leskovec, Rajaraman and Ullman, "Mining of Massive Datasets", section 3.4.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from clear_pipeline.stages.dedup.shingles import I64, U64, ShingleSets, unique

RECALL = 0.95
"""Least probability that a pair exactly at the threshold becomes a candidate."""

WINDOW = 50
"""How many followers in its bucket a text is paired with. All pairs in buckets up to this size;
in larger ones the work stays linear, and neighbours are those that agree in the next band too."""

_CHUNK = 1 << 14
U32Signatures = NDArray[np.uint32]


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


def signatures(sets: ShingleSets, permutations: int) -> U32Signatures:
    """MinHash signatures, texts x permutations. Every set must have a member.

    Uses datasketch's permutations on the shingles' own hashes, for all texts at once: hashing
    each shingle again, text by text, is what makes `MinHash.bulk` slow.
    """
    from datasketch import MinHash

    factor, offset = MinHash(num_perm=permutations, scheme="affine32").permutations
    hashes = sets.hashes.astype(np.uint32)
    indptr = sets.members.indptr
    out = np.empty((len(indptr) - 1, permutations), np.uint32)
    first = 0
    while first < len(out):
        last = int(np.searchsorted(indptr, indptr[first] + _CHUNK, side="right")) - 1
        last = max(last, first + 1)
        columns = sets.members.indices[indptr[first] : indptr[last]]
        permuted = hashes[columns][:, None] * factor + offset
        texts = indptr[first:last] - indptr[first]
        np.minimum.reduceat(permuted, texts, axis=0, out=out[first:last])
        first = last
    return out


def candidate_pairs(signed: U32Signatures, ties: U64, *, bands: int, rows: int) -> tuple[I64, I64]:
    """Pairs that agree in at least one band, each once, first < second.

    Args:
        signed: From `signatures`.
        ties: One number per text that depends on its words alone, to order large buckets, so
            that the pairs do not depend on the order of the texts.
        bands: From `banding`.
        rows: From `banding`.
    """
    keys = np.stack(
        [_band_keys(signed[:, band * rows : (band + 1) * rows]) for band in range(bands)]
    )
    found = np.zeros(0, np.int64)
    for band in range(bands):
        order = np.lexsort((ties, keys[(band + 1) % bands], keys[band]))
        found = unique(np.concatenate([found, _neighbours(keys[band][order], order)]))
    return found // len(signed), found % len(signed)


def _band_keys(columns: U32Signatures) -> U64:
    key = np.zeros(len(columns), np.uint64)
    for column in columns.T:
        key = (key ^ column) * np.uint64(0x9E3779B97F4A7C15)
        key ^= key >> np.uint64(29)
    return key


def _neighbours(keys: U64, order: I64) -> I64:
    """Pairs a * n + b of texts with equal keys, up to `WINDOW` places apart in `order`."""
    found = []
    for distance in range(1, WINDOW + 1):
        equal = np.flatnonzero(keys[:-distance] == keys[distance:])
        if len(equal) == 0:
            break
        one, other = order[equal], order[equal + distance]
        found.append(np.minimum(one, other) * len(order) + np.maximum(one, other))
    return np.concatenate(found) if found else np.zeros(0, np.int64)
