"""`loop.svg`: every model's mean with its interval, and what became of the rows; no script."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from clear_pipeline.evaluate.models.metrics import LABELS
from clear_pipeline.evaluate.models.report import Figure, figure_of
from clear_pipeline.loop.measure import arm_of
from clear_pipeline.loop.record import LoopRecord
from clear_pipeline.loop.stop import gain_of
from clear_pipeline.report.html import environment
from clear_pipeline.report.svg import Frame, Tick
from clear_pipeline.report.words import COLOURS

_WIDTH: Final = 1060
_LEFT, _RIGHT, _TOP, _BOTTOM = 110, 600, 92, 34
_LANE: Final = 34
_BAR_LEFT, _BAR_WIDTH = 836, 200
"""Of the rows of a round."""


class Part(NamedTuple):
    """A part of a bar, with what it stands for."""

    x: float
    width: float
    colour: str
    title: str


class Lane(NamedTuple):
    """One model: where its mean and the ends of its interval are; None where it has no figure."""

    label: str
    y: float
    at: float | None
    low: float | None
    high: float | None
    shown: str
    gain: str
    parts: tuple[Part, ...]


def picture(record: LoopRecord) -> str:
    """The picture as SVG text; equal records give equal text."""
    count = len(record.references) + len(record.rounds)
    frame = Frame(
        _WIDTH, _TOP + _LANE * count + _BOTTOM, left=_LEFT, right=_RIGHT, top=_TOP, bottom=_BOTTOM
    )
    lanes = [
        _lane(each.name, number, each.figures, record, frame)
        for number, each in enumerate(record.references)
    ]
    for number, done in enumerate(record.rounds, len(lanes)):
        gain = gain_of(done, record.metric)
        lane = _lane(arm_of(done.round), number, done.figures, record, frame)
        shown = "-" if gain is None else gain.shown(signed=True)
        lanes.append(lane._replace(gain=shown, parts=_parts(done.rows)))
    return (
        environment()
        .get_template("loop.svg.j2")
        .render(
            title=f"{LABELS[record.metric]} on {record.test_rows:,} held-out rows, by round",
            frame=frame,
            bars=_BAR_LEFT,
            fates=[fate for fate in COLOURS if any(done.rows.get(fate) for done in record.rounds)],
            colours=COLOURS,
            lanes=lanes,
            ticks=[Tick(_x(share, frame), f"{share:g}") for share in (0, 0.25, 0.5, 0.75, 1)],
        )
    )


def _lane(
    name: str, number: int, figures: Sequence[Figure], record: LoopRecord, frame: Frame
) -> Lane:
    y = _TOP + _LANE * (number + 0.5)
    figure = figure_of(figures, record.metric)
    if figure is None or figure.value is None:
        return Lane(name, y, None, None, None, "-", "", ())
    value = figure.value
    at, low, high = (_x(each, frame) for each in (value.value, value.low, value.high))
    return Lane(name, y, at, low, high, value.shown(), "", ())


def _parts(rows: Mapping[str, int]) -> tuple[Part, ...]:
    unit, x, parts = _BAR_WIDTH / max(1, sum(rows.values())), float(_BAR_LEFT), []
    for fate, colour in COLOURS.items():
        if count := rows.get(fate, 0):
            width = count * unit
            parts.append(Part(round(x, 2), round(width, 2), colour, f"{count:,} {fate}"))
            x += width
    return tuple(parts)


def _x(share: float, frame: Frame) -> float:
    return round(frame.left + share * frame.inner_width, 2)
