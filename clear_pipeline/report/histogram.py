"""Scores in bars, by fate."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from clear_pipeline.schema import Fate

BINS: Final = 40
"""Bars of a histogram, over the range that the values need."""


@dataclass(frozen=True, slots=True)
class Histogram:
    """Counts per bin, stacked by fate.

    Attributes:
        low: Left edge of the first bin, in [0, 1).
        high: Right edge of the last bin, in (0, 1].
        counts: One tuple of equal length per fate, in order of `Fate`.
    """

    low: float
    high: float
    counts: Mapping[Fate, tuple[int, ...]]

    def __add__(self, other: Histogram) -> Histogram:
        """Of the values of both, which have the same edges."""
        counts = {
            fate: tuple(map(sum, zip(*rows, strict=True)))
            for fate in Fate
            if (rows := [each.counts[fate] for each in (self, other) if fate in each.counts])
        }
        return Histogram(self.low, self.high, counts)

    @property
    def bins(self) -> int:
        """How many bars stand side by side."""
        return len(next(iter(self.counts.values()), ()))

    @property
    def edges(self) -> tuple[float, ...]:
        """`bins + 1` edges from low to high."""
        step = (self.high - self.low) / max(self.bins, 1)
        return tuple(self.low + step * i for i in range(self.bins + 1))

    @property
    def tallest(self) -> int:
        """Rows in the fullest bin."""
        return max((sum(column) for column in zip(*self.counts.values(), strict=True)), default=0)


Scores: TypeAlias = Mapping[Fate, Sequence[float] | NDArray[np.float64]]
"""Scores in [0, 1] by fate."""


def histogram(values: Scores, *, bins: int = BINS) -> Histogram | None:
    """Count scores in equal bins over the smallest range, in steps of 0.05, that holds them all.

    Args:
        values: All of them.
        bins: How many, >= 1.

    Returns:
        None where there is no value.
    """
    there = [np.asarray(group) for group in values.values() if len(group)]
    if not there:
        return None
    least, most = min(map(np.min, there)), max(map(np.max, there))
    return counted(values, score_range(float(least), float(most)), bins=bins)


def score_range(least: float, most: float) -> tuple[float, float]:
    """The smallest range in steps of 0.05 that holds both, and has a width."""
    low = min(math.floor(least * 20 + 1e-9), 19) / 20
    return low, max(math.ceil(most * 20 - 1e-9) / 20, low + 0.05)


def counted(values: Scores, ends: tuple[float, float], *, bins: int = BINS) -> Histogram:
    """Count scores in equal bins between two ends, between which they all lie."""
    low, high = ends
    counts = {}
    for fate in Fate:
        group = np.asarray(values.get(fate, ()), np.float64)
        if group.size:
            bars = np.minimum(((group - low) / (high - low) * bins).astype(np.int64), bins - 1)
            counts[fate] = tuple(np.bincount(bars, minlength=bins).tolist())
    return Histogram(low=low, high=high, counts=counts)
