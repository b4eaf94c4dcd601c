"""Spoiled rows against their originals: every figure by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from clear_pipeline.evaluate import Estimate, noise_bound, paired, sight
from clear_pipeline.evaluate.pairs import PairFigures, corrected_auroc
from clear_pipeline.evaluate.statistics import detection


def test_win_rate_and_auroc_by_hand() -> None:
    """Pairs: won, tied, lost, won = 2.5 of 4. All 16 combinations: 4 + 0.5 + 2.5 + 3 are won."""
    found = paired([0.1, 0.5, 0.4, 0.3], [0.9, 0.5, 0.2, 0.8])
    assert found.n == 4
    assert found.win_rate.value == pytest.approx(2.5 / 4)
    # 0.1 is below all 4; 0.5 below 0.9 and 0.8, tied with 0.5; 0.4 and 0.3 below all but 0.2.
    assert found.auroc.value == pytest.approx((4 + 2.5 + 3 + 3) / 16)


def test_ties_are_chance() -> None:
    """A score that does not move is at 0.5 without uncertainty."""
    found = paired([0.3] * 12, [0.3] * 12)
    assert found.win_rate == found.auroc == Estimate(0.5, 0.5, 0.5)


def test_auroc_is_that_of_detection() -> None:
    """Two ways to the same figure."""
    rng = np.random.default_rng(0)
    spoiled, originals = rng.integers(0, 9, 40) / 9, rng.integers(2, 11, 40) / 9
    whole = detection([*spoiled, *originals], [True] * 40 + [False] * 40)
    assert paired(spoiled, originals).auroc.value == pytest.approx(whole.auroc.value)


def test_the_interval_is_that_of_the_binomial() -> None:
    """Without ties a win rate is a share of n: about 1.96 sqrt(w (1 - w) / n) on both sides."""
    won = np.arange(100) < 80
    rate = paired(np.where(won, 0.0, 1.0), np.full(100, 0.5)).win_rate
    half = 1.96 * math.sqrt(0.8 * 0.2 / 100)
    assert (rate.value - rate.low, rate.high - rate.value) == pytest.approx((half, half), rel=0.2)


def test_correction_by_hand() -> None:
    """Of originals 20 % bad, a perfect score is seen as 0.9 and a score of 0.8 as 0.74."""
    assert corrected_auroc([0.9, 0.74, 0.5], 0.2) == pytest.approx([1.0, 0.8, 0.5])
    assert float(corrected_auroc(0.74, 0.0)) == 0.74
    assert float(corrected_auroc(0.95, 0.2)) == 1.0


def test_correction_undoes_the_noise() -> None:
    """Bad originals that score like spoiled rows: the corrected interval holds the true AUROC."""
    rng = np.random.default_rng(3)
    bad = rng.random(400) < 0.3
    originals = np.where(bad, rng.normal(0, 1, 400), rng.normal(2, 1, 400))
    found = paired(rng.normal(0, 1, 400), originals, noise_rate=0.3)
    true = 0.5 * (1 + math.erf(2 / math.sqrt(2) / math.sqrt(2)))  # Phi(2 / sqrt 2)
    assert found.auroc.high < true
    assert found.corrected.low < true < found.corrected.high


def test_noise_bound_by_hand() -> None:
    """One spoiled row, none of 50 originals as low: of its kin a share B, uniform, lies there.

    The mean of (1 - p B)^50 is (1 - (1 - p)^51) / (51 p), which is 0.05 at p = 20 / 51. Of four
    originals one or none as low bounds nothing; ties count as low.
    """
    assert noise_bound([0.5], [0.9] * 50) == pytest.approx(20 / 51, rel=1e-3)
    assert noise_bound([0.1, 0.2, 0.3], [0.15, 0.9, 0.8, 0.7]) == 1.0
    assert noise_bound([0.5], [0.5] * 500) == 1.0
    low, high = noise_bound(range(20), [99] * 50), noise_bound(range(20), [9] * 5 + [99] * 45)
    assert 0.0 < low < high < 1.0


@pytest.mark.parametrize("originals", [50, 400])
def test_noise_bound_covers_the_truth(originals: int) -> None:
    """Of 200 draws, a fifth of the originals bad, the bound is too low in 5 %, give or take 3."""
    rng = np.random.default_rng(4)
    bounds = []
    for _ in range(200):
        bad = rng.random(originals) < 0.2
        scores = np.where(bad, rng.normal(0, 1, originals), rng.normal(6, 1, originals))
        bounds.append(noise_bound(rng.normal(0, 1, 20), scores))
    assert np.mean(np.array(bounds) < 0.2) <= 0.08
    assert np.median(bounds) < 0.5


@pytest.mark.parametrize(
    ("n", "low", "high", "words"),
    [
        (9, 1.0, 1.0, "too few rows to say"),
        (10, 1.0, 1.0, "sees it weakly"),
        (20, 1.0, 1.0, "sees it"),
        (100, 0.75, 1.0, "sees it"),
        (100, 0.74, 0.99, "sees it weakly"),
        (100, 0.5, 0.74, "blind"),
        (100, 0.4, 0.75, "too few rows to say"),
        (30, 0.5, 0.74, "too few rows to say"),
        (100, 0.2, 0.49, "inverted"),
    ],
)
def test_the_rule_of_the_words(n: int, low: float, high: float, words: str) -> None:
    """Nothing is said of fewer than ten pairs; ten wins of ten are [0.72, 1] by Wilson."""
    assert sight(n, Estimate((low + high) / 2, low, high)) == words


@pytest.mark.parametrize(
    ("spoiled", "originals", "noise", "message"),
    [
        ([], [], 0.0, "0 spoiled rows"),
        ([0.1], [0.1, 0.2], 0.0, "1 spoiled rows for 2"),
        ([math.nan], [0.1], 0.0, "finite"),
        ([0.1], [0.2], 1.0, "noise rate"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    spoiled: list[float], originals: list[float], noise: float, message: str
) -> None:
    """No pairs, lengths that differ, a missing score, a noise rate that leaves nothing."""
    with pytest.raises(ValueError, match=message):
        paired(spoiled, originals, noise_rate=noise)


def test_the_seed_decides_the_interval() -> None:
    """Equal seeds give equal intervals, other seeds others."""
    rng = np.random.default_rng(0)

    def figures(seed: int) -> PairFigures:
        return paired(spoiled, originals, seed=seed)

    spoiled, originals = rng.random(30), rng.random(30)
    assert figures(0) == figures(0)
    assert figures(0).auroc.low != figures(1).auroc.low
