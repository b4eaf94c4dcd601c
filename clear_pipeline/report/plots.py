"""Interactive figures for notebooks, from the values that the report draws too."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import plotly.graph_objects as go

from clear_pipeline.report.data import funnel
from clear_pipeline.report.histogram import Histogram
from clear_pipeline.report.words import COLOURS, EXPORTED
from clear_pipeline.schema import Fate

_NEUTRAL = "#93a4ad"


def funnel_figure(fates: Mapping[Fate, int]) -> go.Figure:
    """Rows that remain after each step; the last bar is the training set by fate."""
    steps = funnel(fates)
    labels = [step.label for step in steps]
    figure = go.Figure()
    rows = [step.remaining for step in steps[:-1]]
    figure.add_bar(
        x=rows, y=labels[:-1], orientation="h", marker_color=_NEUTRAL, name="rows",
        text=[f"{n:,}" for n in rows], hoverinfo="skip",
    )  # fmt: skip
    for fate in EXPORTED:
        figure.add_bar(
            x=[fates.get(fate, 0)], y=labels[-1:], orientation="h", marker_color=COLOURS[fate],
            name=fate.value, text=[f"{fates.get(fate, 0):,}"],
        )  # fmt: skip
    for step in steps:
        if step.fate is not None and step.left:
            figure.add_bar(
                x=[step.left], y=[step.label], orientation="h", name=step.fate.value,
                marker={"color": COLOURS[step.fate], "opacity": 0.45},
            )  # fmt: skip
    figure.update_yaxes(categoryorder="array", categoryarray=labels[::-1])
    return _styled(figure, title="Where the rows went", height=90 + 44 * len(steps))


def histogram_figure(
    histogram: Histogram, *, title: str, threshold: float | None = None
) -> go.Figure:
    """Stacked bars by fate, with a dashed line at the threshold."""
    edges = histogram.edges
    width = edges[1] - edges[0]
    centres = [edge + width / 2 for edge in edges[:-1]]
    spans = [f"{a:.3f} to {b:.3f}" for a, b in pairwise(edges)]
    figure = go.Figure()
    for fate, counts in reversed(tuple(histogram.counts.items())):
        figure.add_bar(
            x=centres, y=counts, width=width, name=fate.value, marker_color=COLOURS[fate],
            customdata=spans, hovertemplate="%{y} rows, %{customdata}",
        )  # fmt: skip
    if threshold is not None:
        figure.add_vline(
            x=threshold, line_dash="dash", annotation_text=f"threshold {threshold:.3f}"
        )
    figure.update_xaxes(range=[histogram.low, histogram.high])
    figure.update_yaxes(title_text="rows")
    return _styled(figure, title=title, height=340)


def _styled(figure: go.Figure, *, title: str, height: int) -> go.Figure:
    return figure.update_layout(
        title=title,
        height=height,
        barmode="stack",
        bargap=0.06,
        template="plotly_white",
        margin={"l": 16, "r": 16, "t": 56, "b": 16},
    )
