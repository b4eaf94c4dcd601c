"""How far probabilities can be believed: Brier score, skill, calibration line, ECE.

All figures are about P(bad) of rows that the fit has not seen, against what people marked.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from clear_pipeline.calibration.features import log_odds
from clear_pipeline.calibration.logistic import fit_logistic
from clear_pipeline.scoring.parts import F64, Flags
from clear_pipeline.settings import Settings

MARKS_PER_BIN: Final = 20
MOST_BINS: Final = 10
_TAILS: Final = (2.5, 97.5)
_NORMAL: Final = 1.96
_UNHELD: Final = 1e6
"""A strength that leaves the line free, yet ends where the marks are wholly parted."""


class Interval(Settings):
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float


class Bin(Settings):
    """Marks of like P(bad): how many, what was predicted and what was found, with its interval."""

    marks: int
    share: float
    """Of all rows that the marks stand for."""
    predicted: float
    observed: Interval


class Reliability(Settings):
    """Out-of-fold P(bad) against the marks."""

    brier: float
    """Mean squared difference, in [0, 1]; lower is better (Brier 1950)."""
    skill: Interval
    """1 - Brier score / that of the share of bad marks; above 0 is better than knowing nothing."""
    slope: float
    """Of the marks on the predicted log-odds (Cox 1958): 1 is right, less is overconfident."""
    intercept: float
    """Of the same line: 0 is right, above 0 means more bad rows than predicted."""
    ece: float
    """Expected calibration error: mean |predicted - observed| over the bins. Few marks raise it."""
    bins: tuple[Bin, ...]


def reliability(
    p_bad: F64, bad: Flags, weight: F64, *, resamples: int = 1000, seed: int = 0
) -> Reliability:
    """All figures.

    Args:
        p_bad: Predicted for each mark, by a fit that did not see it.
        bad: What was marked. Both kinds must occur.
        weight: How many rows each mark stands for, > 0.
        resamples: Of the marks, for the interval of the skill.
        seed: Of the resamples.
    """
    slope, intercept = calibration_line(p_bad, bad, weight)
    bins = tuple(reliability_bins(p_bad, bad, weight))
    counts = resampled_counts(len(bad), resamples, seed)
    skills = [brier_skill(p_bad, bad, weight * row) for row in counts]
    low, high = np.percentile(np.array(skills), _TAILS)
    return Reliability(
        brier=brier(p_bad, bad, weight),
        skill=Interval(value=brier_skill(p_bad, bad, weight), low=float(low), high=float(high)),
        slope=slope,
        intercept=intercept,
        ece=expected_calibration_error(bins),
        bins=bins,
    )


def brier(p_bad: F64, bad: Flags, weight: F64) -> float:
    """Weighted mean of (P(bad) - bad)^2."""
    return float(np.average((p_bad - bad) ** 2, weights=weight))


def brier_skill(p_bad: F64, bad: Flags, weight: F64) -> float:
    """1 - Brier / Brier of the constant that fits these marks best, their share of bad; <= 1.

    0 if all marks are of one kind: nothing could be shown.
    """
    rate = float(np.average(bad, weights=weight))
    reference = rate * (1 - rate)
    return 1 - brier(p_bad, bad, weight) / reference if reference > 0 else 0.0


def calibration_line(p_bad: F64, bad: Flags, weight: F64) -> tuple[float, float]:
    """Slope and intercept of the logistic regression of the marks on the predicted log-odds."""
    odds = log_odds(p_bad)
    line = fit_logistic(
        np.column_stack([np.ones(len(bad)), odds]), bad, weight[None], strength=_UNHELD
    )
    return float(line[0, 1]), float(line[0, 0])


def reliability_bins(p_bad: F64, bad: Flags, weight: F64) -> list[Bin]:
    """Bins of equally many marks, at least `MARKS_PER_BIN` each, in order of P(bad)."""
    order = np.argsort(p_bad, kind="stable")
    count = min(max(len(bad) // MARKS_PER_BIN, 1), MOST_BINS)
    edges = np.linspace(0, len(bad), count + 1).round().astype(int)
    found = []
    for start, end in pairwise(edges):
        rows = order[start:end]
        share = float(np.average(bad[rows], weights=weight[rows]))
        worth = float(weight[rows].sum() ** 2 / (weight[rows] ** 2).sum())
        low, high = wilson(share, worth)
        found.append(
            Bin(
                marks=len(rows),
                share=float(weight[rows].sum() / weight.sum()),
                predicted=float(np.average(p_bad[rows], weights=weight[rows])),
                observed=Interval(value=share, low=low, high=high),
            )
        )
    return found


def expected_calibration_error(bins: tuple[Bin, ...]) -> float:
    """Mean distance of predicted and observed over the bins, by their shares; in [0, 1]."""
    return sum(b.share * abs(b.predicted - b.observed.value) for b in bins)


def wilson(share: float, marks: float) -> tuple[float, float]:
    """95 % interval of a share among so many marks (Wilson 1927), within [0, 1]."""
    z2 = _NORMAL**2
    centre = (share + z2 / (2 * marks)) / (1 + z2 / marks)
    half = _NORMAL / (1 + z2 / marks) * math.sqrt(share * (1 - share) / marks + z2 / (4 * marks**2))
    return max(centre - half, 0.0), min(centre + half, 1.0)


def resampled_counts(marks: int, resamples: int, seed: int) -> NDArray[np.int64]:
    """How often each mark is drawn: resamples x marks, each row summing to `marks`."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(marks, np.full(marks, 1 / marks), size=resamples)
