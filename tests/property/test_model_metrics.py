"""Metrics of any answer to any reference are in range, and full for the reference itself."""

from __future__ import annotations

import json

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from clear_pipeline.evaluate.bootstrap import mean_difference, mean_estimate
from clear_pipeline.evaluate.models.metrics import measure, missing
from clear_pipeline.schema import Example, Message

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
JSON_TEXT = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
).map(json.dumps)
FENCED = JSON_TEXT.map("```json\n{}\n```".format)
ANSWERS = TEXT | JSON_TEXT | FENCED
SHARES = st.lists(st.floats(0, 1), min_size=1, max_size=12)


def row(reference: str) -> Example:
    return Example(
        id="t:1",
        file="t",
        line=1,
        format="openai",
        messages=(Message("user", "?"),),
        target=Message("assistant", reference),
        original="{}",
    )


@given(ANSWERS.filter(bool), ANSWERS)
def test_metrics_are_in_range(reference: str, answer: str) -> None:
    """Whatever is said, every metric is in [0, 1], or None where a missing answer's is."""
    found, lost = measure(row(reference), answer), missing(row(reference))
    assert all(value is None or 0 <= value <= 1 for value in found.values())
    assert {name: value is None for name, value in found.items()} == {
        name: value is None for name, value in lost.items()
    }


@given(ANSWERS.filter(bool))
def test_the_reference_is_right(reference: str) -> None:
    """The reference as an answer has full marks in every metric."""
    assert {v for v in measure(row(reference), reference).values() if v is not None} == {1.0}


@given(SHARES)
def test_an_interval_holds_no_impossible_mean(values: list[float]) -> None:
    """No end lies outside the values, and no side differs from itself."""
    found = mean_estimate(values, resamples=100)
    assert found is not None
    assert min(values) - 1e-9 <= found.low <= found.high <= max(values) + 1e-9
    rows, difference = mean_difference(values, np.array(values), resamples=100)
    assert difference is not None
    assert (rows, difference.low, difference.high) == (len(values), 0, 0)
