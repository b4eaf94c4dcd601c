"""The picture of `benchmarks/clear_small.py`: exact match over the share of noise, by arm."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, Protocol

from benchmarks.clear_small_arms import CORRECT, FILTER, FULL, RANDOM, RATING
from clear_pipeline.evaluate.statistics import Estimate
from clear_pipeline.report.svg import MOST_LINES, Frame

_COLOURS: Final = {
    CORRECT: "#1b7f5c", FILTER: "#2f7fb8", RATING: "#8a63b8", FULL: "#c2702b", RANDOM: "#93a4ad",
}  # fmt: skip
_WIDTH, _HEIGHT = 460, 360
_LEGEND: Final = 34


class Means(Protocol):
    """What the picture shows."""

    @property
    def tasks(self) -> tuple[str, ...]:
        """In order, a panel each."""
        ...

    @property
    def percents(self) -> tuple[int, ...]:
        """Levels of noise, in order."""
        ...

    def mean(self, tasks: Sequence[str], percents: Sequence[int], arm: str) -> Estimate | None:
        """Exact match of an arm with its interval."""
        ...

    def seeds_of(self, task: str, percent: int, arm: str) -> int:
        """On how many seeds an arm is there."""
        ...


def picture(figures: Means) -> str:
    """The picture as SVG text: a panel per task; equal figures give equal text."""
    width, height = _WIDTH * len(figures.tasks), _HEIGHT + _LEGEND
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" font-family="system-ui, sans-serif" font-size="12" role="img" '
        'aria-label="Exact match by share of noise in the training rows">'
    )
    parts = [head, f'<rect width="{width}" height="{height}" fill="#fff"/>', *_legend(figures)]
    for number, task in enumerate(figures.tasks):
        parts += [f'<g transform="translate({number * _WIDTH} {_LEGEND})">', *_panel(figures, task)]
        parts.append("</g>")
    return "\n".join([*parts, "</svg>"]) + "\n"


def _legend(figures: Means) -> Iterator[str]:
    """The arms that are there; those of fewer seeds than another say so."""
    cells = [(task, percent) for task in figures.tasks for percent in figures.percents]
    seeds = {arm: {figures.seeds_of(*cell, arm) for cell in cells} - {0} for arm in _COLOURS}
    there = {arm: min(counts) for arm, counts in seeds.items() if counts}
    most = max(there.values())
    for number, (arm, count) in enumerate(there.items()):
        x = 30 + 190 * number
        name = arm if count == most else f"{arm} ({count} of {most} seeds)"
        yield f'<circle cx="{x}" cy="20" r="5" fill="{_COLOURS[arm]}"/>'
        yield f'<text fill="#444" x="{x + 12}" y="24">{name}</text>'


def _panel(figures: Means, task: str) -> Iterator[str]:
    frame = Frame(_WIDTH, _HEIGHT, left=54, right=20, top=40, bottom=48)
    grey = 'fill="#444"'
    bold = 'fill="#1c2127" font-size="15" font-weight="600"'
    yield f'<text {bold} x="{frame.left}" y="24">{task}</text>'
    for share in (i / (MOST_LINES - 1) for i in range(MOST_LINES)):
        y = _y(share, frame)
        yield (
            f'<line stroke="#e4e6e8" x1="{frame.left}" x2="{_WIDTH - frame.right}" '
            f'y1="{y}" y2="{y}"/>'
        )
        yield f'<text {grey} x="{frame.left - 8}" y="{y}" dy="4" text-anchor="end">{share:g}</text>'
    spread = len(figures.percents)
    places = [
        frame.left + frame.inner_width * (2 * number + 1) / (2 * spread) for number in range(spread)
    ]
    for x, percent in zip(places, figures.percents, strict=True):
        place = f'x="{x:.2f}" y="{frame.base + 18}"'
        yield f'<text {grey} {place} text-anchor="middle">{percent} %</text>'
    yield (
        f'<text {grey} x="{frame.left + frame.inner_width / 2}" y="{frame.base + 38}" '
        'text-anchor="middle">training rows with a wrong answer</text>'
    )
    for number, (arm, colour) in enumerate(_COLOURS.items()):
        aside = 5.0 * (number - (len(_COLOURS) - 1) / 2)
        found = [figures.mean([task], [percent], arm) for percent in figures.percents]
        dots = [(x + aside, each) for x, each in zip(places, found, strict=True) if each]
        corners = " ".join(f"{x:.2f},{_y(each.value, frame)}" for x, each in dots)
        yield f'<polyline fill="none" stroke="{colour}" stroke-width="2" points="{corners}"/>'
        for x, each in dots:
            low, high = _y(each.low, frame), _y(each.high, frame)
            yield f'<line stroke="{colour}" x1="{x:.2f}" x2="{x:.2f}" y1="{low}" y2="{high}"/>'
            yield f'<circle fill="{colour}" cx="{x:.2f}" cy="{_y(each.value, frame)}" r="3.5"/>'


def _y(share: float, frame: Frame) -> float:
    return round(frame.base - share * frame.inner_height, 2)
