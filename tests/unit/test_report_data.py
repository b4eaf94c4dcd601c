"""The values behind the report's charts, computed by hand."""

from __future__ import annotations

import pytest

from clear_pipeline.report.data import Step, fair_shares, funnel
from clear_pipeline.report.histogram import Histogram, histogram
from clear_pipeline.report.svg import Bar, Frame, Tick, bars, x_at, x_ticks, y_ticks
from clear_pipeline.schema import Fate

FRAME = Frame(120, 70, left=20, top=10, bottom=10)
"""A plot area of 100 x 50."""


def test_funnel_has_a_step_for_each_loss() -> None:
    """100 rows: 10 unreadable, 20 duplicates, 30 filtered leave 35 kept and 5 rectified."""
    fates = {
        Fate.QUARANTINED: 10,
        Fate.DUPLICATE: 20,
        Fate.RECTIFIED: 5,
        Fate.FILTERED: 30,
        Fate.KEPT: 35,
    }
    assert funnel(fates) == (
        Step("Input rows", None, 0, 100),
        Step("Readable", Fate.QUARANTINED, 10, 90),
        Step("Unique", Fate.DUPLICATE, 20, 70),
        Step("In the training set", Fate.FILTERED, 30, 40),
    )


def test_funnel_without_loss_is_two_equal_steps() -> None:
    """Where every row is kept, what went in comes out."""
    steps = funnel({Fate.KEPT: 7})
    assert [(step.left, step.remaining) for step in steps] == [(0, 7), (0, 7)]


def test_histogram_range_is_cut_to_steps_of_a_twentieth() -> None:
    """0.62 to 0.88 needs 0.60 to 0.90; six bins of 0.05, the upper end in the last."""
    drawn = histogram({Fate.KEPT: [0.62, 0.64, 0.88], Fate.FILTERED: [0.72]}, bins=6)
    assert drawn is not None
    assert (drawn.low, drawn.high) == (0.6, 0.9)
    assert drawn.counts == {Fate.FILTERED: (0, 0, 1, 0, 0, 0), Fate.KEPT: (2, 0, 0, 0, 0, 1)}
    assert drawn.edges == pytest.approx((0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9))
    assert drawn.tallest == 2


@pytest.mark.parametrize(("score", "edges"), [(0.0, (0.0, 0.05)), (1.0, (0.95, 1.0))])
def test_histogram_of_one_score_has_a_width(score: float, edges: tuple[float, float]) -> None:
    """At either end of the scale, equal scores stand in bars of some width inside [0, 1]."""
    drawn = histogram({Fate.KEPT: [score] * 3})
    assert drawn is not None
    assert (drawn.low, drawn.high) == pytest.approx(edges)
    assert drawn.tallest == 3


def test_histogram_of_nothing_is_none() -> None:
    """Without a score there is nothing to draw."""
    assert histogram({}) is None
    assert histogram({Fate.KEPT: []}) is None


def test_bars_stand_on_each_other() -> None:
    """Two bins of 50 units: 4 kept below 1 filtered fill the height, 5 rows to 50 units."""
    drawn = Histogram(0.0, 1.0, {Fate.FILTERED: (1, 0), Fate.KEPT: (4, 2)})
    assert bars(drawn, FRAME) == [
        Bar(Fate.KEPT, 21.0, 20.0, 48.0, 40.0, "4 kept, 0.000 to 0.500"),
        Bar(Fate.FILTERED, 21.0, 10.0, 48.0, 10.0, "1 filtered, 0.000 to 0.500"),
        Bar(Fate.KEPT, 71.0, 40.0, 48.0, 20.0, "2 kept, 0.500 to 1.000"),
    ]


def test_axes_are_round() -> None:
    """Five rows give the ticks 1 to 5, 1,200 give 500 and 1,000; scores stand at quarters."""
    drawn = Histogram(0.6, 0.8, {Fate.KEPT: (5, 0)})
    assert y_ticks(drawn, FRAME)[-1] == Tick(10.0, "5")
    assert len(y_ticks(drawn, FRAME)) == 5
    tall = Histogram(0.6, 0.8, {Fate.KEPT: (1_200, 0)})
    assert [tick.label for tick in y_ticks(tall, FRAME)] == ["500", "1,000"]
    assert [tick.label for tick in x_ticks(drawn, FRAME)] == ["0.6", "0.65", "0.7", "0.75", "0.8"]


def test_threshold_outside_the_chart_stands_at_its_edge() -> None:
    """A line that would fall outside is drawn at the nearer end."""
    drawn = Histogram(0.6, 0.8, {Fate.KEPT: (1, 1)})
    assert [x_at(drawn, score, FRAME) for score in (0.1, 0.7, 0.9)] == [20.0, 70.0, 120.0]


def test_rare_fates_are_not_crowded_out() -> None:
    """Of 10 places, 2 unscored rows take 2; 50 filtered and 90 duplicates share the rest."""
    counts = {Fate.DUPLICATE: 90, Fate.UNSCORED: 2, Fate.FILTERED: 50}
    shares = fair_shares(counts, 10)
    assert shares == {Fate.DUPLICATE: 4, Fate.UNSCORED: 2, Fate.FILTERED: 4}
