"""`probe.svg`: the win rate of every corruption with its interval, light and dark, no script."""

from __future__ import annotations

from functools import cache
from typing import Final, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from clear_pipeline.evaluate.pairs import CHANCE, CLEAR_SIGHT
from clear_pipeline.probe.report import Finding, ProbeReport
from clear_pipeline.report.svg import Frame, Tick
from clear_pipeline.report.text import one_line, visible

_WIDTH: Final = 1020
_LEFT, _RIGHT, _TOP, _BOTTOM = 250, 350, 92, 34
_ROW: Final = 30
"""Height of a corruption with one preset; each further preset adds `_LANE`."""
_LANE: Final = 14
COLOURS: Final = ("#2f7fb8", "#c2702b", "#3d9462", "#9a5fb4")
"""Of the presets, in order; readable on light and dark."""


class Mark(NamedTuple):
    """One preset's figure: a point with its interval, and the verdict beside it."""

    colour: str
    y: float
    at: float
    low: float
    high: float
    title: str
    sight: str
    auroc: str


class Lane(NamedTuple):
    """One corruption: its label and the marks of all presets."""

    label: str
    explanation: str
    y: float
    marks: tuple[Mark, ...]


def picture(report: ProbeReport) -> str:
    """The picture as SVG text; equal reports give equal text."""
    frame = _frame(report)
    title = f"What {one_line(report.model, 40)} sees in {one_line(report.dataset, 40)}"
    return _template().render(
        report=report,
        title=title,
        frame=frame,
        lanes=_lanes(report, frame),
        ticks=[Tick(_x(share, frame), f"{share:g}") for share in (0, 0.25, 0.5, 0.75, 1)],
        chance=_x(CHANCE, frame),
        clear=_x(CLEAR_SIGHT, frame),
        auroc="AUROC" if report.noise_rate is None else "corrected AUROC",
        legend=[(COLOURS[n % len(COLOURS)], p.preset) for n, p in enumerate(report.presets)],
    )


def _frame(report: ProbeReport) -> Frame:
    lanes = sum(any(of.planted for of in findings) for findings in _by_corruption(report))
    height = _TOP + lanes * _lane_height(report) + _BOTTOM
    return Frame(_WIDTH, height, left=_LEFT, right=_RIGHT, top=_TOP, bottom=_BOTTOM)


def _lane_height(report: ProbeReport) -> int:
    return _ROW + _LANE * (len(report.presets) - 1)


def _by_corruption(report: ProbeReport) -> list[tuple[Finding, ...]]:
    return list(zip(*(preset.findings for preset in report.presets), strict=True))


def _lanes(report: ProbeReport, frame: Frame) -> list[Lane]:
    height = _lane_height(report)
    planted = [of for of in _by_corruption(report) if any(finding.planted for finding in of)]
    lanes = []
    for number, findings in enumerate(planted):
        top = frame.top + number * height
        marks = [
            _mark(finding, COLOURS[n % len(COLOURS)], top + _ROW / 2 + n * _LANE, frame)
            for n, finding in enumerate(findings)
            if finding.win_rate is not None
        ]
        first = findings[0]
        lanes.append(Lane(first.plural, first.explanation, top + height / 2, tuple(marks)))
    return lanes


def _mark(finding: Finding, colour: str, y: float, frame: Frame) -> Mark:
    rate = finding.win_rate
    assert rate is not None  # noqa: S101 - the caller's condition, for the type checker
    return Mark(
        colour=colour,
        y=y,
        at=_x(rate.value, frame),
        low=_x(rate.low, frame),
        high=_x(rate.high, frame),
        title=f"{rate.value:.2f} [{rate.low:.2f}, {rate.high:.2f}], {finding.n} rows",
        sight=f"{rate.value:.2f}  {finding.sight}",
        auroc=_auroc(finding),
    )


def _auroc(finding: Finding) -> str:
    found = finding.auroc_corrected or finding.auroc
    return "" if found is None else f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}]"


def _x(share: float, frame: Frame) -> float:
    return round(frame.left + share * frame.inner_width, 2)


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("clear_pipeline.probe"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=lambda value: visible(value) if isinstance(value, str) else value,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template("probe.svg.j2")
