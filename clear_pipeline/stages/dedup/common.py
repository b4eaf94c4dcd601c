"""Shingles that many rows of a file share: templates and contexts, which are no evidence."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

import numpy as np

from clear_pipeline.stages.dedup.shingles import hash_of, members, shingle
from clear_pipeline.stages.dedup.words import I64, U64, Tokens

COMMON_ROWS: Final = 10
"""A shingle in so few rows is never common: 1 % of 60 rows is less than one row, and every
cluster of near-duplicates would pass for a template."""

Blocks = Callable[[], Iterator[Tokens]]
"""The texts of one file, no two equal, a block at a time; each call begins anew."""


def common_shingles(blocks: Blocks, texts: int, *, width: int, fraction: float) -> U64:
    """The shingles that more than `COMMON_ROWS` and `fraction` of the texts have, sorted.

    A shingle that is common in the file is common in some block of it. So what no block finds
    common need not be counted over all of them.
    """
    most = max(COMMON_ROWS, int(fraction * texts))
    if texts <= most:
        return np.zeros(0, np.uint64)
    suspects: list[U64] = []
    read = 0
    for tokens in blocks():
        size = len(tokens.lengths)
        suspects.append(_repeated(tokens, width, more_than=most * size // texts))
        read += size
    suspect = np.unique(np.concatenate(suspects))
    if len(suspect) == 0:
        return suspect
    counts = sum(_counted(suspect, tokens, width) for tokens in blocks())
    return suspect[counts > most]


def _repeated(tokens: Tokens, width: int, *, more_than: int) -> U64:
    """The shingles that more than so many texts have."""
    ordered = np.sort(hash_of(members(shingle(tokens, width))))
    there = ordered[more_than:]
    return np.unique(there[there == ordered[: len(there)]])


def _counted(suspect: U64, tokens: Tokens, width: int) -> I64:
    """How many texts have each suspect."""
    found = hash_of(members(shingle(tokens, width)))
    place = np.minimum(np.searchsorted(suspect, found), len(suspect) - 1)
    return np.bincount(place[suspect[place] == found], minlength=len(suspect))


def merged(parts: Sequence[U64]) -> U64:
    """All of them, sorted, each once."""
    return np.unique(np.concatenate([np.zeros(0, np.uint64), *parts]))
