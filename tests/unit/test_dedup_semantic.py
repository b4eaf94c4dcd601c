"""Pairs of similar vectors, worked out by hand, and the guard that keeps numbers and negations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from clear_pipeline.stages.dedup.claims import claim_keys, claims
from clear_pipeline.stages.dedup.clusters import Pairs
from clear_pipeline.stages.dedup.semantic import similar_pairs

F16 = NDArray[np.float16]


def at(*degrees: float) -> F16:
    """Unit vectors in the plane."""
    angles = np.radians(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float16)


def pairs(
    vectors: F16,
    scratch: Path,
    *,
    threshold: float = 0.9,
    neighbours: int = 16,
    groups: Sequence[int] | None = None,
    parts: int = 1,
    cut: int = 1,
) -> Pairs:
    group = np.array(groups or [0] * len(vectors), np.int64)
    return similar_pairs(
        [(vectors[:cut], group[:cut]), (vectors[cut:], group[cut:])],
        threshold=threshold,
        neighbours=neighbours,
        scratch=scratch,
        parts=parts,
    )


def told(found: Pairs) -> dict[tuple[int, int], float]:
    names = zip(found.first.tolist(), found.second.tolist(), strict=True)
    return dict(zip(names, found.similarity.tolist(), strict=True))


def test_pairs_are_those_whose_cosine_reaches_the_threshold(tmp_path: Path) -> None:
    """Cosines of 20, 25 and 45 degrees: 0.940, 0.906, 0.707, so two pairs of three at 0.9."""
    found = told(pairs(at(0, 20, 45), tmp_path))
    assert found == {
        (0, 1): pytest.approx(math.cos(math.radians(20)), abs=1e-3),
        (1, 2): pytest.approx(math.cos(math.radians(25)), abs=1e-3),
    }


def test_equal_vectors_are_paired_with_the_first_of_them(tmp_path: Path) -> None:
    """A thousand copies make 999 pairs of similarity 1, whatever `neighbours` is."""
    found = pairs(np.repeat(at(30), 1000, axis=0), tmp_path, neighbours=1)
    assert found.first.tolist() == [0] * 999
    assert found.second.tolist() == [*range(1, 1000)]
    assert set(found.similarity.tolist()) == {1.0}


def test_a_row_has_the_first_of_its_neighbours(tmp_path: Path) -> None:
    """Five rows within 4 degrees, two neighbours: of each the two earliest, not the nearest."""
    found = told(pairs(at(0, 1, 2, 3, 4), tmp_path, neighbours=2))
    assert [*found] == [(0, 1), (0, 2), (0, 3), (0, 4), (1, 2), (1, 3), (1, 4)]


def test_rows_of_different_groups_are_no_pair(tmp_path: Path) -> None:
    """Not even with equal vectors; those of one group are found among others' rows."""
    found = told(pairs(at(0, 0, 0, 1), tmp_path, groups=[7, 3, 7, 3]))
    assert [*found] == [(0, 2), (1, 3)]


def test_the_least_cosine_of_the_parts_counts(tmp_path: Path) -> None:
    """Prompts 0 degrees apart, responses 20: their cosine; 0 and 30 are 0.866, their mean 0.933."""
    two = np.hstack([at(0, 0, 0), at(0, 20, -10)])
    found = told(pairs(two, tmp_path, parts=2))
    assert found == {
        (0, 1): pytest.approx(0.940, abs=1e-3),
        (0, 2): pytest.approx(0.985, abs=1e-3),
    }


def test_an_empty_part_is_similar_to_an_empty_one_alone(tmp_path: Path) -> None:
    """Rows without a prompt compare by their responses; beside one with a prompt they differ."""
    none = np.zeros((1, 2), np.float16)
    prompts = np.concatenate([none, none, at(0)])
    found = told(pairs(np.hstack([prompts, at(0, 1, 0)]), tmp_path, parts=2, threshold=0.5))
    assert [*found] == [(0, 1)]


def test_vectors_of_two_lengths_are_an_error(tmp_path: Path) -> None:
    """As after a change of the model."""
    group = np.zeros(1, np.int64)
    rows = [(at(0), group), (np.ones((1, 3), np.float16), group)]
    with pytest.raises(ValueError, match="of 2 and 3 numbers"):
        similar_pairs(rows, threshold=0.9, neighbours=1, scratch=tmp_path)


def test_no_row_and_one_row_have_no_pair(tmp_path: Path) -> None:
    """Nothing to compare."""
    for vectors in (at(), at(1)):
        assert told(pairs(vectors, tmp_path)) == {}


@pytest.mark.parametrize(
    ("text", "numbers", "negations"),
    [
        ("Is 7 prime?", ("7",), 0),
        ("Is seven prime?", ("7",), 0),
        ("1,000 or 1000 or 3.5", ("1000", "1000", "3.5"), 0),
        ("3 - 4 and a well-known fact", ("-", "3", "4"), 0),
        ("one way", (), 0),
        ("It isn't so, I don\u2019t know, and cannot say.", (), 3),
        ("NOT a knot, no", (), 2),
    ],
)
def test_claims_are_numbers_signs_and_negations(
    text: str, numbers: tuple[str, ...], negations: int
) -> None:
    """Number words count as numbers, hyphens and parts of words do not."""
    assert claims(text) == (numbers, negations)


def test_keys_tell_rows_apart_that_claim_something_else() -> None:
    """Another number or negation, in either text; the order of words does not count."""
    keys = claim_keys([
        ("Is 7 prime?", "Yes."), ("Tell me: is seven a prime?", "It is."), ("Is 8 prime?", "Yes."),
        ("Is 7 not prime?", "Yes."), ("Is 7 prime?", "No."), ("Is it prime?", "7. Yes."),
    ]).tolist()  # fmt: skip
    assert keys[0] == keys[1]
    assert len({*keys}) == 5
    assert claim_keys([]).tolist() == []
