"""Intervals of means and of paired differences, over rows and seeds."""

from __future__ import annotations

import math

import numpy as np
import pytest

from clear_pipeline.evaluate import bootstrap
from clear_pipeline.evaluate.bootstrap import mean_difference, mean_estimate

NAN = math.nan


def test_two_rows_by_hand() -> None:
    """Of resamples of 0 and 1 a quarter is 0 and a quarter 1, so the interval is all of [0, 1]."""
    found = mean_estimate([0, 1])
    assert found is not None
    assert (found.value, found.low, found.high) == (0.5, 0.0, 1.0)


def test_the_interval_has_the_width_that_theory_gives() -> None:
    """400 rows, half of them right: 2 x 1.96 standard errors are 0.098."""
    found = mean_estimate([0, 1] * 200)
    assert found is not None
    assert found.high - found.low == pytest.approx(2 * 1.96 * math.sqrt(0.25 / 400), rel=0.1)


def test_a_difference_is_paired() -> None:
    """One side is 0.25 above the other on every row: certain, however far the rows differ."""
    second = np.array([0.0, 0.75] * 20)
    rows, found = mean_difference(second + 0.25, second)
    assert found is not None
    assert rows == 40
    assert (found.value, found.low, found.high) == pytest.approx((0.25, 0.25, 0.25))


def test_seeds_are_drawn_as_rows_are() -> None:
    """One seed right everywhere, one nowhere: both are drawn twice in a quarter of resamples."""
    values = [[0.0] * 100, [1.0] * 100]
    found = mean_estimate(values)
    assert found is not None
    assert (found.value, found.low, found.high) == (0.5, 0.0, 1.0)
    rows, difference = mean_difference(values, [0.25] * 100)
    assert difference is not None
    assert rows == 100
    assert (difference.value, difference.low, difference.high) == (0.25, -0.25, 0.75)


def test_rows_without_a_value_are_left_out() -> None:
    """A mean is of what is there; a difference of the rows on which every seed has a value."""
    found = mean_estimate([[1.0, NAN, 0.0], [1.0, NAN, NAN]])
    assert found is not None
    assert found.value == pytest.approx(2 / 3)
    rows, difference = mean_difference([[1.0, NAN, 0.0], [0.0, 1.0, NAN]], [0.0, 0.0, 0.0])
    assert difference is not None
    assert (rows, difference.value) == (1, 0.5)


def test_nothing_to_say_is_none() -> None:
    """Without any value there is no figure, not a 0."""
    assert mean_estimate([[NAN, NAN]]) is None
    assert mean_difference([1.0, NAN], [NAN, 1.0]) == (0, None)


def test_other_rows_are_refused() -> None:
    """A difference of two test sets is no paired one."""
    with pytest.raises(ValueError, match="2 rows against 1"):
        mean_difference([1.0, 0.0], [1.0])


def test_resamples_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many resamples are held at once, all of them are taken."""
    values = np.linspace(0, 1, 50)
    whole = mean_estimate(values, resamples=500)
    monkeypatch.setattr(bootstrap, "_CELLS_AT_ONCE", 120)
    parts = mean_estimate(values, resamples=500)
    assert whole is not None
    assert parts is not None
    assert parts.value == whole.value
    assert (parts.low, parts.high) == pytest.approx((whole.low, whole.high), abs=0.03)
