"""Shingles, signatures and bands against what they stand for."""

from __future__ import annotations

import random

import numpy as np
import pytest
from numpy.typing import NDArray

from clear_pipeline.stages.dedup.candidates import (
    RECALL,
    WINDOW,
    banding,
    candidate_pairs,
    signatures,
)
from clear_pipeline.stages.dedup.clusters import keepers, spanning_forest
from clear_pipeline.stages.dedup.shingles import concatenate, shingle_sets, tokenize


def test_bands_reach_the_recall_and_no_selective_choice_does() -> None:
    """18 bands of 7 rows at 0.8 with 128 permutations: P = 0.985; 16 of 8 would miss more."""
    assert banding(0.8, 128) == (18, 7)
    assert 1 - (1 - 0.8**7) ** 18 >= RECALL > 1 - (1 - 0.8**8) ** 16
    assert banding(1.0, 128) == (1, 128)


def test_jaccard_is_that_of_sets_of_word_runs() -> None:
    """Words a b c d against b c d e with runs of two: 2 of 4; equal texts 1, foreign ones 0."""
    sets = shingle_sets(tokenize(["a b c d", "b c d e", "A b, c d!", "x"]), 2)
    others = np.array([1, 2, 3])
    assert sets.jaccard(np.zeros(3, np.int64), others).tolist() == [0.5, 1.0, 0.0]


def test_a_text_shorter_than_a_shingle_is_one_shingle() -> None:
    """So it equals itself alone."""
    sets = shingle_sets(tokenize(["a b", "a b", "a c", "a"]), 5)
    assert sets.sizes.tolist() == [1, 1, 1, 1]
    assert sets.jaccard(np.zeros(3, np.int64), np.arange(1, 4)).tolist() == [1.0, 0.0, 0.0]


def test_tokens_of_parts_are_those_of_the_whole() -> None:
    """Cutting texts into shards changes no word, sentence or hash."""
    texts = ["One. Two three!", "", "日本語。テスト", "a\nb", "...", "x != y"]
    whole = tokenize(texts)
    parts = concatenate([tokenize(texts[:2]), tokenize(texts[2:])])
    assert parts.hashes.tolist() == whole.hashes.tolist()
    assert parts.starts.tolist() == whole.starts.tolist()
    assert parts.offsets.tolist() == whole.offsets.tolist() == [0, 3, 4, 10, 12, 13, 16]
    assert np.flatnonzero(whole.starts).tolist() == [0, 1, 3, 4, 7, 10, 11, 12, 13]


def test_signatures_estimate_jaccard() -> None:
    """The share of equal places is within 5 standard errors of the exact similarity."""
    text = " ".join(f"w{i}" for i in range(200))
    sets = shingle_sets(tokenize([text, text.replace("w100", "other")]), 5)
    signed = signatures(sets, 1024)
    exact = float(sets.jaccard(np.array([0]), np.array([1]))[0])
    error = (exact * (1 - exact) / 1024) ** 0.5
    assert float((signed[0] == signed[1]).mean()) == pytest.approx(exact, abs=5 * error)


def test_signatures_do_not_depend_on_the_other_texts() -> None:
    """Chunks of texts are computed together, each text for itself."""
    rng = random.Random(0)
    texts = [" ".join(rng.choices("abcdefghij", k=rng.randint(1, 900))) for _ in range(100)]
    together = signatures(shingle_sets(tokenize(texts), 3), 16)
    alone = [signatures(shingle_sets(tokenize([text]), 3), 16)[0] for text in texts]
    assert together.tolist() == np.array(alone).tolist()


def test_a_bucket_of_many_costs_linear_work() -> None:
    """Each of 1,000 equal signatures is paired with WINDOW others, and all stay connected."""
    n = 1000
    first, second = candidate_pairs(
        np.zeros((n, 8), np.uint32), np.arange(n, dtype=np.uint64), bands=4, rows=2
    )
    assert len(first) <= n * WINDOW
    edges = [(a, b, 1.0) for a, b in zip(first.tolist(), second.tolist(), strict=True)]
    assert len(spanning_forest(edges)) == n - 1


def test_the_pairs_of_a_large_bucket_do_not_depend_on_the_order() -> None:
    """Texts are known by their words: shuffled, the same pairs are found."""
    rng = np.random.default_rng(0)
    signed = rng.integers(0, 2, (20 * WINDOW, 4), dtype=np.uint32)
    names = rng.permutation(len(signed)).astype(np.uint64)

    def found(order: NDArray[np.int64]) -> set[frozenset[int]]:
        pairs = candidate_pairs(signed[order], names[order], bands=2, rows=2)
        return {frozenset(names[order][list(pair)].tolist()) for pair in zip(*pairs, strict=True)}

    straight = np.arange(len(signed))
    assert len(found(straight)) > 0
    assert found(straight) == found(rng.permutation(straight))


def test_a_forest_keeps_the_strongest_edges() -> None:
    """Of a triangle the weakest edge goes."""
    assert spanning_forest([(0, 1, 0.8), (1, 2, 0.9), (0, 2, 0.95)]) == [
        (0, 2, 0.95),
        (1, 2, 0.9),
    ]


def test_the_path_to_the_keeper_is_as_strong_as_its_weakest_pair() -> None:
    """Contents 0 - 1 - 2 in a chain; the keeper is the row of lowest rank in the cluster."""
    content_of = np.array([2, 0, 1, 0, 3])
    keeper, similarity = keepers(content_of, [(0, 1, 0.9), (1, 2, 0.8)], np.arange(5))
    assert keeper.tolist() == [0, 0, 0, 0, 4]
    assert similarity.tolist() == [1.0, 0.8, 0.8, 0.8, 1.0]
