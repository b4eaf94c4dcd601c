"""`evaluation.svg`: every group's figures as dots with intervals, light and dark, no script."""

from __future__ import annotations

from typing import Final, NamedTuple

from clear_pipeline.evaluate.models.metrics import LABELS
from clear_pipeline.evaluate.models.report import EvaluationReport, Figure, GroupReport, figure_of
from clear_pipeline.report.html import environment
from clear_pipeline.report.svg import Frame, Tick
from clear_pipeline.report.text import one_line

_WIDTH: Final = 1020
_LEFT, _RIGHT, _TOP, _BOTTOM = 210, 370, 84, 34
_HEAD: Final = 34
"""Height of a metric's heading."""
_LANE: Final = 26
"""Height of a group under it."""


class Lane(NamedTuple):
    """One group under one metric; `seeds` are the values of its arms, where it has several."""

    label: str
    y: float
    at: float
    low: float
    high: float
    shown: str
    difference: str
    seeds: tuple[float, ...]
    is_baseline: bool


class Panel(NamedTuple):
    """One metric: its name, and the height of its heading."""

    name: str
    y: float
    lanes: tuple[Lane, ...]


def picture(report: EvaluationReport) -> str:
    """The picture as SVG text; equal reports give equal text."""
    metrics = [m for m in LABELS if any(figure_of(g.figures, m) for g in report.groups)]
    height = _TOP + len(metrics) * (_HEAD + _LANE * len(report.groups)) + _BOTTOM
    frame = Frame(_WIDTH, height, left=_LEFT, right=_RIGHT, top=_TOP, bottom=_BOTTOM)
    panels = []
    for number, metric in enumerate(metrics):
        top = _TOP + number * (_HEAD + _LANE * len(report.groups))
        lanes = [
            lane
            for n, group in enumerate(report.groups)
            if (lane := _lane(report, group, metric, top + _HEAD + _LANE * (n + 0.5), frame))
        ]
        panels.append(Panel(LABELS[metric], top + _HEAD - 8, tuple(lanes)))
    return (
        environment()
        .get_template("evaluation.svg.j2")
        .render(
            title=f"{one_line(report.dataset, 60)}: {report.rows:,} held-out rows",
            baseline=report.baseline,
            frame=frame,
            panels=panels,
            ticks=[Tick(_x(share, frame), f"{share:g}") for share in (0, 0.25, 0.5, 0.75, 1)],
        )
    )


def _lane(
    report: EvaluationReport, group: GroupReport, metric: str, y: float, frame: Frame
) -> Lane | None:
    figure = figure_of(group.figures, metric)
    if figure is None or figure.value is None:
        return None
    value = figure.value
    several = len(group.arms) > 1
    arms = [arm for arm in report.arms if arm.name in group.arms and several]
    seeds = [figure_of(arm.figures, metric) for arm in arms]
    beside = next((d for d in report.differences if d.group == group.name), None)
    difference = None if beside is None else figure_of(beside.figures, metric)
    return Lane(
        label=one_line(group.name, 28) + (f" ({len(group.arms)} seeds)" if several else ""),
        y=y,
        at=_x(value.value, frame),
        low=_x(value.low, frame),
        high=_x(value.high, frame),
        shown=value.shown(),
        difference=_signed(difference),
        seeds=tuple(_x(f.value.value, frame) for f in seeds if f is not None and f.value),
        is_baseline=group.name == report.baseline,
    )


def _signed(figure: Figure | None) -> str:
    found = None if figure is None else figure.value
    return "" if found is None else found.shown(signed=True)


def _x(share: float, frame: Frame) -> float:
    return round(frame.left + share * frame.inner_width, 2)
