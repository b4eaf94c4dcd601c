"""The training curve that a job's events draw."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from clear_pipeline.finetune.base import Point


def curve_of(events: Iterable[Mapping[str, Any]]) -> tuple[Point, ...]:
    """The losses in a job's events, one point for each step, in order.

    A validation loss over all rows goes before one over some of them.
    """
    points: dict[int, Point] = {}
    for event in events:
        data = event.get("data")
        step = _number(data, "step")
        if step is None:
            continue
        whole, part = _number(data, "full_valid_loss"), _number(data, "valid_loss")
        losses = {"train_loss": _number(data, "train_loss"), "valid_loss": part}
        if whole is not None:
            losses["valid_loss"] = whole
        known = {name: loss for name, loss in losses.items() if loss is not None}
        if known:
            point = points.get(int(step), Point(step=int(step)))
            points[int(step)] = point.model_copy(update=known)
    return tuple(points[step] for step in sorted(points))


def _number(data: object, name: str) -> float | None:
    value = data.get(name) if isinstance(data, Mapping) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)
