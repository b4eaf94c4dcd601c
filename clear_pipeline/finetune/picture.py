"""`curve.svg`: losses over the steps, and the learning rate as an area behind them; no script."""

from __future__ import annotations

from typing import Final, NamedTuple

from clear_pipeline.finetune.base import Point, Trained
from clear_pipeline.report.html import environment
from clear_pipeline.report.svg import MOST_LINES, Frame, Tick

_FRAME: Final = Frame(760, 360, left=64, right=24, top=64, bottom=52)


class Line(NamedTuple):
    """One curve: its name, its colour and its corners."""

    label: str
    colour: str
    corners: tuple[tuple[float, float], ...]


def curve_svg(trained: Trained) -> str:
    """The picture as SVG text; equal curves give equal text."""
    points = [_finite(point) for point in trained.curve]
    last = max((point.step for point in points), default=0) or 1
    losses = [
        v for p in points for v in (p.train_loss, p.valid_loss, p.general_loss) if v is not None
    ]
    high = max(losses, default=0.0) or 1.0
    rates = [p.learning_rate for p in points if p.learning_rate is not None]
    return (
        environment()
        .get_template("curve.svg.j2")
        .render(
            frame=_FRAME,
            lines=[
                Line("training loss", "#2f7fb8", _corners(points, "train_loss", last, high)),
                Line("validation loss", "#c2702b", _corners(points, "valid_loss", last, high)),
                Line("general loss", "#5b8c3a", _corners(points, "general_loss", last, high)),
            ],
            rate=_corners(points, "learning_rate", last, max(rates, default=0.0) or 1.0),
            peak=max(rates, default=None),
            across=[Tick(_x(step, last), f"{step:,}") for step in _steps(last)],
            up=[Tick(_y(high * i / 4, high), f"{high * i / 4:.3g}") for i in range(MOST_LINES)],
        )
    )


def _finite(point: Point) -> Point:
    """Without what is no number: it has no place in a picture."""
    kept = {k: v for k, v in point.model_dump().items() if v is not None and abs(v) < float("inf")}
    return Point(**kept)


def _corners(
    points: list[Point], name: str, last: int, high: float
) -> tuple[tuple[float, float], ...]:
    values = [(point.step, getattr(point, name)) for point in points]
    return tuple((_x(step, last), _y(value, high)) for step, value in values if value is not None)


def _steps(last: int) -> list[int]:
    return sorted({round(last * i / (MOST_LINES - 1)) for i in range(MOST_LINES)})


def _x(step: int, last: int) -> float:
    return round(_FRAME.left + step / last * _FRAME.inner_width, 2)


def _y(value: float, high: float) -> float:
    return round(_FRAME.base - value / high * _FRAME.inner_height, 2)
