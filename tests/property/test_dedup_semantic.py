"""Similar vectors of any rows: every pair is found, none is invented, whatever their order."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from clear_pipeline.stages.dedup.clusters import Pairs
from clear_pipeline.stages.dedup.semantic import MARGIN, similar_pairs

F16 = NDArray[np.float16]
SIZE = 20
"""Numbers of a vector: more than the shortest bound has."""
THRESHOLD = 0.9


@st.composite
def vectors(draw: st.DrawFn) -> F16:
    """Rows around a few directions, some of them equal."""
    seed = draw(st.integers(0, 2**32 - 1))
    rows, centres = draw(st.integers(1, 30)), draw(st.integers(1, 4))
    spread = draw(st.sampled_from([0.0, 0.05, 0.1, 0.3]))
    numbers = np.random.default_rng(seed)
    centre = numbers.normal(size=(centres, SIZE))[numbers.integers(centres, size=rows)]
    found = centre / np.linalg.norm(centre, axis=1, keepdims=True)
    found = found + spread * numbers.normal(size=found.shape)
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    rounded: F16 = found.astype(np.float16)
    return rounded


def search(rows: F16, *, neighbours: int = 100, groups: list[int] | None = None) -> Pairs:
    group = np.array(groups or [0] * len(rows), np.int64)
    with tempfile.TemporaryDirectory() as scratch:
        return similar_pairs(
            iter([(rows[:3], group[:3]), (rows[3:], group[3:])]),
            threshold=THRESHOLD,
            neighbours=neighbours,
            scratch=Path(scratch),
        )


def cosines(rows: F16) -> NDArray[np.float64]:
    """Of all pairs, in the plainest way."""
    wide = rows.astype(np.float64)
    wide /= np.linalg.norm(wide, axis=1, keepdims=True)
    return np.array([[float(np.sum(a * b)) for b in wide] for a in wide])


def edges(found: Pairs) -> set[tuple[int, int]]:
    return {*zip(found.first.tolist(), found.second.tolist(), strict=True)}


def components(rows: int, pairs: set[tuple[int, int]]) -> list[int]:
    """Per row the first row that it is connected with."""
    first = list(range(rows))
    for _ in range(rows):
        for one, other in pairs:
            first[one] = first[other] = min(first[one], first[other])
    return first


@given(vectors())
def test_every_pair_is_found_and_verified(rows: F16) -> None:
    """Against all cosines; of equal rows one stands for all, so clusters are compared."""
    exact = cosines(rows)
    found = search(rows)
    columns = (found.first, found.second, found.similarity)
    for one, other, similarity in zip(*(column.tolist() for column in columns), strict=True):
        assert one < other
        assert abs(similarity - exact[one, other]) < 1e-9
        assert similarity >= THRESHOLD
    sure = {(i, j) for i, j in zip(*np.nonzero(np.triu(exact, 1) >= THRESHOLD + 1e-9), strict=True)}
    assert components(len(rows), edges(found)) == components(len(rows), sure)
    distinct = {row.tobytes(): i for i, row in reversed([*enumerate(rows)])}
    firsts = {*distinct.values()}
    assert {(i, j) for i, j in sure if {i, j} <= firsts} <= edges(found)


@given(vectors(), st.integers(0, 2**32 - 1))
def test_another_order_of_rows_gives_the_same_clusters(rows: F16, seed: int) -> None:
    """A permutation of the rows permutes what they are connected with, and no more."""
    order = np.random.default_rng(seed).permutation(len(rows))
    plain, turned = edges(search(rows)), edges(search(rows[order]))
    back = {(int(order[one]), int(order[other])) for one, other in turned}
    assert components(len(rows), plain) == components(len(rows), back)


@given(vectors(), st.integers(1, 3))
def test_a_row_has_the_first_of_its_neighbours(rows: F16, neighbours: int) -> None:
    """With a limit, the pairs are those of no limit, of each row the earliest; never more."""
    every, some = search(rows), search(rows, neighbours=neighbours)
    expected = set()
    for row in range(len(rows)):
        earlier = sorted(one for one, other in edges(every) if other == row)
        expected |= {(one, row) for one in earlier[:neighbours]}
    assert edges(some) == expected


@given(vectors(), st.integers(1, 4))
def test_groups_part_the_pairs(rows: F16, groups: int) -> None:
    """The pairs of each group are those that it has by itself."""
    group = [row % groups for row in range(len(rows))]
    together = edges(search(rows, groups=group))
    apart = set()
    for name in range(groups):
        members = [row for row in range(len(rows)) if group[row] == name]
        apart |= {(members[i], members[j]) for i, j in edges(search(rows[members]))}
    assert together == apart


def test_the_margin_is_wider_than_what_32_bits_lose() -> None:
    """Sums of 2 to 1,536 products of random unit vectors, in 32 bits and in 64."""
    numbers = np.random.default_rng(0)
    for size in (2, 64, 1536):
        wide = numbers.normal(size=(200, size))
        wide /= np.linalg.norm(wide, axis=1, keepdims=True)
        short = wide.astype(np.float32)
        assert np.abs(short @ short.T - wide @ wide.T).max() < MARGIN / 10
