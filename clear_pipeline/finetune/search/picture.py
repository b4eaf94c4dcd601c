"""`search.svg`: the losses of the trials, the lowest on top, with their folds; no script."""

from __future__ import annotations

from typing import Final, NamedTuple

from clear_pipeline.finetune.search.report import SearchReport, Trial, shown
from clear_pipeline.report.html import environment
from clear_pipeline.report.svg import MOST_LINES, Frame, Tick
from clear_pipeline.report.text import one_line

SHOWN: Final = 30
"""Trials in the picture; the others are counted."""
_WIDTH: Final = 1020
_LEFT, _RIGHT, _TOP, _BOTTOM = 460, 110, 84, 46
_LANE: Final = 24
_LONGEST: Final = 62
"""Characters of a trial's settings."""


class Lane(NamedTuple):
    """One trial; `folds` are the losses of its single trainings, where there are several."""

    label: str
    y: float
    at: float
    low: float
    high: float
    folds: tuple[float, ...]
    shown: str
    kind: str
    """`best`, `given` (the settings without a search), `pruned` or `other`."""


def search_svg(report: SearchReport) -> str:
    """The picture as SVG text; equal reports give equal text."""
    trials = [trial for trial in report.trials if trial.state != "failed"]
    drawn = trials[:SHOWN]
    frame = Frame(
        _WIDTH,
        _TOP + _LANE * len(drawn) + _BOTTOM,
        left=_LEFT,
        right=_RIGHT,
        top=_TOP,
        bottom=_BOTTOM,
    )
    losses = [loss for trial in drawn for loss in trial.losses]
    low, high = min(losses), max(losses)
    if low == high:
        low, high = low - 0.5, high + 0.5

    def across(loss: float) -> float:
        return round(frame.left + (loss - low) / (high - low) * frame.inner_width, 2)

    def lane(place: int, trial: Trial) -> Lane:
        return Lane(
            label=one_line(f"{trial.number}: {shown(trial.settings)}", _LONGEST),
            y=frame.top + _LANE * (place + 0.5),
            at=across(trial.loss),
            low=across(min(trial.losses)),
            high=across(max(trial.losses)),
            folds=tuple(map(across, trial.losses)) if len(trial.losses) > 1 else (),
            shown=f"{trial.loss:.4f}",
            kind=_kind(report, trial),
        )

    values = [low + (high - low) * i / (MOST_LINES - 1) for i in range(MOST_LINES)]
    return (
        environment()
        .get_template("search.svg.j2")
        .render(
            frame=frame,
            title=f"Search for settings: {len(report.trials)} trials on {report.rows:,} rows",
            folds=report.folds,
            left_out=len(report.trials) - len(drawn),
            lanes=[lane(place, trial) for place, trial in enumerate(drawn)],
            ticks=[Tick(across(value), f"{value:.4g}") for value in values],
        )
    )


def _kind(report: SearchReport, trial: Trial) -> str:
    if trial.number == report.chosen.number:
        return "best"
    if trial.number == report.given_trial:
        return "given"
    return "pruned" if trial.state == "pruned" else "other"
