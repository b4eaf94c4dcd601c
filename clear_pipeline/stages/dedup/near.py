"""Which rows are near-duplicates: verified pairs with their similarity."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from clear_pipeline.stages.dedup.candidates import banding, candidate_pairs, signatures
from clear_pipeline.stages.dedup.clusters import Edge
from clear_pipeline.stages.dedup.shingles import (
    I64,
    ShingleSets,
    Tokens,
    drop_common,
    shingle_sets,
)

COMMON_ROWS = 10
"""A shingle in so few rows is never common: 1 % of 60 rows is less than one row, and every
cluster of near-duplicates would pass for a template."""


def near_pairs(
    prompts: Tokens,
    responses: Tokens,
    files: Sequence[I64],
    *,
    threshold: float,
    shingle_words: int,
    permutations: int,
    common_fraction: float,
) -> list[Edge]:
    """Find pairs of rows that are near-duplicates in prompt and response, and verify each.

    Args:
        prompts: Row i has the prompt i. No two rows have equal words in both texts.
        responses: Of the same rows.
        files: Per file the rows that occur in it.
        threshold: Least Jaccard similarity of the prompts and of the responses, in (0, 1].
        shingle_words: Words per shingle.
        permutations: Of MinHash.
        common_fraction: A shingle in more than this share of the rows of any file (and in more
            than `COMMON_ROWS`) is left out everywhere.

    Returns:
        Pairs with the smaller one of their two similarities.
    """
    if len(prompts.lengths) == 0:
        return []
    sides = []
    for tokens in (prompts, responses):
        sets = shingle_sets(tokens, shingle_words)
        common = _common_shingles(sets, files, common_fraction)
        sides.append(drop_common(sets, common, tokens.whole()))
    rows = np.flatnonzero(np.logical_and(*(_may_match(side, threshold) for side in sides)))
    if len(rows) == 0:
        return []
    # Prompt and response at the threshold each implies the threshold for the two sets taken
    # together, so one signature of their union finds the pair, and finds few others.
    signed = np.minimum(*(signatures(side.take(rows), permutations) for side in sides))
    ties = (prompts.whole() ^ (responses.whole() >> np.uint64(1)))[rows]
    bands, rows_per_band = banding(threshold, permutations)
    first, second = candidate_pairs(signed, ties, bands=bands, rows=rows_per_band)
    first, second = rows[first], rows[second]
    similarity = np.minimum(*(side.jaccard(first, second) for side in sides))
    alike = similarity >= threshold
    return [
        (one, other, value)
        for one, other, value in zip(
            first[alike].tolist(), second[alike].tolist(), similarity[alike].tolist(), strict=True
        )
        if same_request(
            prompts.sentences(one),
            prompts.sentences(other),
            threshold=threshold,
            shingle_words=shingle_words,
        )
    ]


def _common_shingles(sets: ShingleSets, files: Sequence[I64], fraction: float) -> NDArray[np.bool_]:
    common = np.zeros(len(sets.hashes), bool)
    for rows in files:
        shared = np.sort(sets.members[rows].indices)
        most = int(max(COMMON_ROWS, fraction * len(rows)))
        common[shared[most:][shared[most:] == shared[: max(len(shared) - most, 0)]]] = True
    return common


def _may_match(sets: ShingleSets, threshold: float) -> NDArray[np.bool_]:
    """False for a set that shares too few members with all others to be similar to any."""
    columns = sets.members.indices
    shared = (np.bincount(columns)[columns] > 1).astype(np.int64)
    return np.add.reduceat(shared, sets.members.indptr[:-1]) >= threshold * sets.sizes


Sentence = tuple[int, ...]


def same_request(
    one: Sequence[Sentence], other: Sequence[Sentence], *, threshold: float, shingle_words: int
) -> bool:
    """Whether two similar prompts also ask the same.

    A long context makes prompts similar whatever is asked about it. So sentences that stand in
    both prompts are set aside, and what remains must be a near-duplicate by itself. The first
    and last words count as much as the others here: what remains is padded at both ends.
    """
    if not Counter(one) & Counter(other):
        return True
    mine = _padded_shingles(_without(one, other), shingle_words)
    theirs = _padded_shingles(_without(other, one), shingle_words)
    return len(mine & theirs) >= threshold * len(mine | theirs)


def _without(sentences: Sequence[Sentence], others: Sequence[Sentence]) -> list[int]:
    """The words of the sentences that `others` lacks, in order."""
    spare = Counter(others)
    spare.subtract(sentences)
    kept = []
    for sentence in reversed(sentences):
        if spare[sentence] < 0:
            spare[sentence] += 1
            kept.append(sentence)
    return list(chain.from_iterable(reversed(kept)))


def _padded_shingles(words: Sequence[int], width: int) -> set[Sentence]:
    if not words:
        return set()
    edge = (0,) * (width - 1)
    padded = (*edge, *words, *edge)
    return {padded[i : i + width] for i in range(len(padded) - width + 1)}
