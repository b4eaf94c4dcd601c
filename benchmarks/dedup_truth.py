"""What there is to find, and whether what was found is right: exact Jaccard on word shingles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components

from benchmarks.peers.dedup_worker import THRESHOLD, shingles

I64 = NDArray[np.int64]

BINS: Final = 20
"""Bin k has the pairs with a Jaccard similarity of at least k / BINS and less than the next; equal
sets are in the last."""

_ROWS_AT_ONCE: Final = 1024


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """Pairs of texts, each once, first < second.

    Attributes:
        jaccard: In (0, 1].
    """

    first: I64
    second: I64
    jaccard: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Precision:
    """How many of the rows that are left out repeat one that stays.

    Attributes:
        removed: Rows that are left out.
        direct: Of these, the ones whose similarity to the row that stays reaches the threshold.
        chained: Those that a path of pairs at or above the threshold leads to the row that stays,
            through rows of the same cluster alone.
    """

    removed: int
    direct: int
    chained: int


def all_pairs(texts: Sequence[str], least: float = 1 / BINS) -> Pairs:
    """Every pair of texts with a similarity of at least `least` > 0, by their common shingles."""
    sets = _shingle_matrix(texts)
    sizes = sets.sum(axis=1).astype(np.int64)
    transposed = sets.T.tocsr()
    firsts, seconds, values = [], [], []
    for start in range(0, len(texts), _ROWS_AT_ONCE):
        shared = (sets[start : start + _ROWS_AT_ONCE] @ transposed).tocoo()
        rows, columns = shared.coords
        first, second = rows.astype(np.int64) + start, columns.astype(np.int64)
        jaccard = shared.data / (sizes[first] + sizes[second] - shared.data)
        chosen = (first < second) & (jaccard >= least)
        firsts.append(first[chosen])
        seconds.append(second[chosen])
        values.append(jaccard[chosen])
    return Pairs(np.concatenate(firsts), np.concatenate(seconds), np.concatenate(values))


def _shingle_matrix(texts: Sequence[str]) -> csr_array:
    """Texts x shingles, 1 where a text has a shingle."""
    columns: dict[str, int] = {}
    sets = [{columns.setdefault(s, len(columns)) for s in shingles(text)} for text in texts]
    ends = np.cumsum([0, *map(len, sets)])
    places = np.fromiter(chain.from_iterable(sets), np.int64, ends[-1])
    shape = (len(texts), max(len(columns), 1))
    return csr_array((np.ones(len(places), np.int32), places, ends), shape)


def recall(pairs: Pairs, kept: I64) -> tuple[list[int], list[int]]:
    """How many pairs there are in each bin, and how many of them are in one cluster.

    Args:
        pairs: Of all texts that are looked at.
        kept: Per text the row that stays in its place.
    """
    edges = np.arange(1, BINS) / BINS
    bins = np.searchsorted(edges, pairs.jaccard, side="right")
    together = kept[pairs.first] == kept[pairs.second]
    return (
        np.bincount(bins, minlength=BINS).tolist(),
        np.bincount(bins[together], minlength=BINS).tolist(),
    )


def roots(kept: I64) -> I64:
    """Per row the row at the end of the chain of rows that stay for each other."""
    while not np.array_equal(further := kept[kept], kept):
        kept = further
    return kept


def precision(texts: Sequence[str], kept: I64) -> Precision:
    """Hold every row that is left out against the row that stays.

    Args:
        texts: One per row.
        kept: From `roots`.
    """
    removed = np.flatnonzero(kept != np.arange(len(kept)))
    order = removed[np.argsort(kept[removed], kind="stable")]
    starts = np.flatnonzero(np.diff(kept[order], prepend=-1))
    direct = chained = 0
    for members in np.split(order, starts[1:]) if len(order) else []:
        stays = texts[kept[members[0]]]
        repeats = [texts[row] for row in members]
        near = _near(stays, repeats)
        direct += sum(near[text] for text in repeats)
        if not all(near.values()):
            near = _reached(stays, list(near))
        chained += sum(near[text] for text in repeats)
    return Precision(len(removed), direct, chained)


def _near(stays: str, repeats: Sequence[str]) -> dict[str, bool]:
    """Per different text, whether it is similar to the one that stays."""
    own = set(shingles(stays))
    near = {}
    for text in set(repeats):
        other = set(shingles(text))
        near[text] = len(own & other) / len(own | other) >= THRESHOLD
    return near


def _reached(stays: str, repeats: Sequence[str]) -> dict[str, bool]:
    """Per different text, whether a path of similar pairs leads to it."""
    texts = [stays, *(text for text in repeats if text != stays)]
    pairs = all_pairs(texts, THRESHOLD)
    graph = coo_array((pairs.jaccard, (pairs.first, pairs.second)), (len(texts), len(texts)))
    _, component = connected_components(graph, directed=False)
    return {text: bool(component[n] == component[0]) for n, text in enumerate(texts)}
