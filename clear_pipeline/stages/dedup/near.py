"""Which rows are near-duplicates: verified pairs with their similarity."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from clear_pipeline.stages.dedup.candidates import banding, candidate_pairs, signatures
from clear_pipeline.stages.dedup.clusters import Edge
from clear_pipeline.stages.dedup.shingles import (
    I64,
    Sentences,
    ShingleSets,
    Tokens,
    concatenate,
    drop_common,
    expand,
    paired_keys,
    shingle_sets,
)

COMMON_ROWS = 10
"""A shingle in so few rows is never common: 1 % of 60 rows is less than one row, and every
cluster of near-duplicates would pass for a template."""

_PAIRS_AT_ONCE = 1 << 14


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
    sides = [
        _distinctive(tokens, files, shingle_words=shingle_words, common_fraction=common_fraction)
        for tokens in (prompts, responses)
    ]
    ties = prompts.whole() ^ (responses.whole() >> np.uint64(1))
    first, second = _candidates(sides, ties, threshold=threshold, permutations=permutations)
    sentences = prompts.sentences()
    edges: list[Edge] = []
    for start in range(0, len(first), _PAIRS_AT_ONCE):
        one, other = (side[start : start + _PAIRS_AT_ONCE] for side in (first, second))
        similarity = np.minimum(*(side.jaccard(one, other) for side in sides))
        alike = np.flatnonzero(similarity >= threshold)
        one, other, similarity = one[alike], other[alike], similarity[alike]
        same = same_request(
            prompts, sentences, one, other, threshold=threshold, width=shingle_words
        )
        edges += zip(
            one[same].tolist(), other[same].tolist(), similarity[same].tolist(), strict=True
        )
    return edges


def _candidates(
    sides: Sequence[ShingleSets], ties: NDArray[np.uint64], *, threshold: float, permutations: int
) -> tuple[I64, I64]:
    """Pairs of rows that may be similar on both sides; `ties` as in `candidate_pairs`."""
    rows = np.flatnonzero(np.logical_and(*(_may_match(side, threshold) for side in sides)))
    if len(rows) == 0:
        return rows, rows
    # Prompt and response at the threshold each implies the threshold for the two sets taken
    # together, so one signature of their union finds the pair, and finds few others.
    signed = np.minimum(*(signatures(side.take(rows), permutations) for side in sides))
    bands, rows_per_band = banding(threshold, permutations)
    first, second = candidate_pairs(signed, ties[rows], bands=bands, rows=rows_per_band)
    return rows[first], rows[second]


def _distinctive(
    tokens: Tokens, files: Sequence[I64], *, shingle_words: int, common_fraction: float
) -> ShingleSets:
    """The shingles of each text without those that many rows of a file share."""
    sets = shingle_sets(tokens, shingle_words)
    return drop_common(sets, _common_shingles(sets, files, common_fraction), tokens.whole())


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


def same_request(
    prompts: Tokens, sentences: Sentences, first: I64, second: I64, *, threshold: float, width: int
) -> NDArray[np.bool_]:
    """Whether two similar prompts also ask the same.

    A long context makes prompts similar whatever is asked about it. So sentences that stand in
    both prompts are set aside, and what remains must be a near-duplicate by itself. What remains
    is padded at both ends, so that its first and last words count as much as the others.
    """
    if len(first) == 0:
        return np.zeros(0, bool)
    one, one_shares = _unshared(prompts, sentences, first, second, pad=width - 1)
    other, _ = _unshared(prompts, sentences, second, first, pad=width - 1)
    pairs = np.arange(len(first))
    rests = shingle_sets(concatenate([one, other]), width)
    return ~one_shares | (rests.jaccard(pairs, pairs + len(pairs)) >= threshold)


def _unshared(
    prompts: Tokens, sentences: Sentences, texts: I64, others: I64, *, pad: int
) -> tuple[Tokens, NDArray[np.bool_]]:
    """The words of the sentences that the other text lacks, padded; whether any was shared."""
    counts = np.diff(sentences.offsets)
    mine = expand(sentences.offsets[texts], counts[texts])
    theirs = expand(sentences.offsets[others], counts[others])
    pair = np.repeat(np.arange(len(texts)), counts[texts])
    their_pair = np.repeat(np.arange(len(texts)), counts[others])
    shared = np.isin(
        paired_keys(sentences.keys[mine], pair), paired_keys(sentences.keys[theirs], their_pair)
    )
    shares = np.bincount(pair[shared], minlength=len(texts)) > 0
    mine, pair = mine[~shared], pair[~shared]
    words = np.bincount(pair, sentences.lengths[mine], minlength=len(texts)).astype(np.int64)
    offsets = np.concatenate([[0], np.cumsum(words + 2 * pad)])
    hashes = np.zeros(offsets[-1], np.uint64)
    hashes[expand(offsets[:-1] + pad, words)] = prompts.hashes[
        expand(sentences.starts[mine], sentences.lengths[mine])
    ]
    return Tokens(hashes, np.zeros(len(hashes), bool), offsets), shares
