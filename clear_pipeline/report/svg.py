"""Geometry of the report's charts. Static shapes: a reader needs no script and no 5 MB library."""

from __future__ import annotations

from itertools import count
from typing import NamedTuple

from clear_pipeline.report.histogram import Histogram
from clear_pipeline.schema import Fate

MOST_LINES = 5
"""Ticks on an axis; more are clutter."""


class Frame(NamedTuple):
    """The plot area inside a viewBox of `width` x `height`."""

    width: int
    height: int
    left: int = 0
    right: int = 0
    top: int = 0
    bottom: int = 0

    @property
    def inner_width(self) -> int:
        """Width of the plot area."""
        return self.width - self.left - self.right

    @property
    def inner_height(self) -> int:
        """Height of the plot area."""
        return self.height - self.top - self.bottom

    @property
    def base(self) -> int:
        """The y of a bar's foot."""
        return self.height - self.bottom


class Bar(NamedTuple):
    """One rectangle with its tooltip."""

    fate: Fate
    x: float
    y: float
    width: float
    height: float
    title: str


class Tick(NamedTuple):
    """A position along an axis and what stands there."""

    at: float
    label: str


def bars(histogram: Histogram, frame: Frame) -> list[Bar]:
    """Stacked bars; the fullest bin is as high as the frame, no bar is lower than one unit."""
    step = frame.inner_width / histogram.bins
    gap = min(2.0, step / 5)
    unit = frame.inner_height / max(histogram.tallest, 1)
    shapes = []
    for i in range(histogram.bins):
        foot = float(frame.base)
        span = f"{histogram.edges[i]:.3f} to {histogram.edges[i + 1]:.3f}"
        for fate, counts in reversed(tuple(histogram.counts.items())):
            if counts[i]:
                height = max(counts[i] * unit, 1.0)
                foot -= height
                shapes.append(
                    Bar(
                        fate,
                        round(frame.left + i * step + gap / 2, 2),
                        round(foot, 2),
                        round(step - gap, 2),
                        round(height, 2),
                        f"{counts[i]:,} {fate}, {span}",
                    )
                )
    return shapes


def x_at(histogram: Histogram, value: float, frame: Frame) -> float:
    """Where a score stands; outside the range, at the nearer end."""
    share = (value - histogram.low) / (histogram.high - histogram.low)
    return round(frame.left + min(max(share, 0.0), 1.0) * frame.inner_width, 2)


def x_ticks(histogram: Histogram, frame: Frame) -> list[Tick]:
    """Evenly spaced scores from the left to the right edge."""
    span = histogram.high - histogram.low
    values = [histogram.low + span * i / (MOST_LINES - 1) for i in range(MOST_LINES)]
    return [Tick(x_at(histogram, value, frame), f"{value:.4g}") for value in values]


def y_ticks(histogram: Histogram, frame: Frame) -> list[Tick]:
    """One to five round counts above zero: multiples of 1, 2 or 5 times a power of ten."""
    tallest = histogram.tallest
    steps = (lead * 10**power for power in count() for lead in (1, 2, 5))
    step = next(step for step in steps if tallest <= step * MOST_LINES)
    unit = frame.inner_height / max(tallest, 1)
    return [
        Tick(round(frame.base - rows * unit, 2), f"{rows:,}")
        for rows in range(step, tallest + 1, step)
    ]
