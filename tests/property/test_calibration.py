"""Calibration: indifferent to order, bounded, and not fooled by a signal that is upside down."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from calibration_rows import signals
from clear_pipeline.calibration import Marks, fit_marks, fit_ranking

PAIRS = np.arange(120) % 2 == 0
KINDS = ["swap" if bad else None for bad in PAIRS]
GROUPS = [f"row{i // 2}" for i in range(120)]


@settings(max_examples=15, deadline=None)
@given(st.permutations(["reflection", "likelihood", "confidence"]), st.integers(0, 99))
def test_order_of_the_parts_does_not_matter(names: list[str], seed: int) -> None:
    """The same parts in another order give the same file."""
    found = signals(PAIRS, seed=seed)
    assert fit_ranking(found, KINDS, GROUPS) == fit_ranking(
        {name: found[name] for name in names}, KINDS, GROUPS
    )


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 999), st.floats(0.1, 0.6))
def test_inverted_signal_is_repaired(seed: int, noise: float) -> None:
    """A signal at 1 - x is turned, said so, and finds what x would have found."""
    found = {"reflection": signals(PAIRS, seed=seed, noise=noise, inverted=True)["reflection"]}
    assert roc_auc_score(~PAIRS, found["reflection"]) < 0.1
    fitted, remarks = fit_ranking(found, KINDS, GROUPS)
    assert fitted.corruptions is not None
    assert fitted.corruptions.turned == ("reflection",)
    assert fitted.corruptions.auroc > 0.9
    assert remarks == ["upside down here, and turned: reflection"]


values = st.floats(0, 1) | st.sampled_from([0.0, 1.0, float("nan")])


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 99), st.lists(st.tuples(values, values, values), min_size=1, max_size=8))
def test_calibrated_values_are_probabilities(
    seed: int, rows: list[tuple[float, float, float]]
) -> None:
    """In [0, 1] for any row, a missing value too, and never below their lower bound."""
    found = signals(PAIRS, seed=seed)
    fitted, _ = fit_marks(found, Marks(np.arange(120), PAIRS), score="confidence")
    columns = np.array(rows).T
    given_parts = dict(zip(("reflection", "likelihood", "confidence"), columns, strict=True))
    good, low = fitted.calibrated(given_parts), fitted.lower_bound(given_parts)
    assert ((good >= 0) & (good <= 1)).all()
    assert ((low >= 0) & (low <= good)).all()
