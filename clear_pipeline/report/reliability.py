"""The reliability plot: what was predicted against what people marked, as a static SVG."""

from __future__ import annotations

from clear_pipeline.calibration.reliability import Reliability
from clear_pipeline.report.html import environment


def reliability_svg(figures: Reliability) -> str:
    """A picture that needs no script and no network: one point per bin, with its 95 % interval.

    Points on the diagonal are calibrated; below it there are fewer bad rows than predicted.
    """
    return environment().get_template("reliability.svg.j2").render(figures=figures)
