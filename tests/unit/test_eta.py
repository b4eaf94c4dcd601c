"""The eta of rectify that keeps a promise about good rows."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clear_pipeline.calibration.eta import (
    EtaCalibration,
    LabelledRepair,
    at_most,
    fewest_good,
    fit_eta,
)
from clear_pipeline.errors import UsageError


def good(*preferences: float | None) -> list[LabelledRepair]:
    return [LabelledRepair(bad=False, preference=p, damages=True) for p in preferences]


def bad(*preferences: float | None) -> list[LabelledRepair]:
    return [LabelledRepair(bad=True, preference=p, damages=False) for p in preferences]


@pytest.mark.parametrize(
    ("found", "trials", "bound"),
    [(0, 59, 0.0495), (0, 100, 0.0295), (1, 100, 0.0466), (2, 100, 0.0616), (3, 3, 1.0)],
)
def test_the_bound_is_clopper_and_pearsons(found: int, trials: int, bound: float) -> None:
    """One-sided, 95 %: with none of n found it is 1 - 0.05^(1/n)."""
    assert at_most(found, trials) == pytest.approx(bound, abs=5e-5)
    if found == 0:
        assert at_most(0, trials) == pytest.approx(1 - 0.05 ** (1 / trials))


@pytest.mark.parametrize(("share", "rows"), [(0.05, 59), (0.01, 299), (0.5, 5), (0.95, 1)])
def test_how_many_good_rows_a_promise_takes(share: float, rows: int) -> None:
    """The smallest n with 1 - 0.05^(1/n) <= share."""
    assert fewest_good(share) == rows
    assert at_most(0, rows) <= share + 1e-12


def test_too_few_good_rows_are_refused_with_what_is_missing() -> None:
    """58 rows of which none is damaged could still be 0.0503."""
    with pytest.raises(UsageError, match=r"58 good rows .* takes 59.* label 1 more"):
        fit_eta([*good(*[None] * 58), *bad(*[0.9] * 50)], max_damage=0.05)


def test_the_smallest_eta_that_keeps_the_promise() -> None:
    """Of 100 good rows one may be damaged (0.0466): eta is the second highest preference."""
    rows = [*good(0.97, 0.91, 0.6, *[None] * 97), *bad(0.99, 0.92, 0.91, 0.7, None)]
    fitted = fit_eta(rows, max_damage=0.05)
    assert (fitted.chosen.eta, fitted.chosen.damaged, fitted.chosen.replaced) == (0.91, 1, 2)
    assert fitted.chosen.at_most == pytest.approx(0.0466, abs=5e-5)
    assert (fitted.good, fitted.bad) == (100, 5)
    at = {point.eta: (point.damaged, point.replaced) for point in fitted.others}
    assert (at[0.5], at[0.9], at[0.95]) == ((3, 4), (2, 3), (1, 1))


def test_without_damage_eta_is_even() -> None:
    """Below 0.5 nothing is preferred."""
    assert fit_eta([*good(*[None] * 59), *bad(0.51)], max_damage=0.05).chosen.eta == 0.5


def test_a_right_candidate_of_a_good_row_does_no_damage() -> None:
    """Where the truth is known, another right answer is none."""
    harmless = [LabelledRepair(bad=False, preference=0.99, damages=False)] * 60
    assert fit_eta(harmless, max_damage=0.05).chosen.damaged == 0


@given(
    st.lists(st.one_of(st.none(), st.floats(0.001, 1)), min_size=59, max_size=150),
    st.floats(0.05, 0.9),
)
def test_the_promise_holds_and_no_lower_eta_keeps_it(
    preferences: list[float | None], max_damage: float
) -> None:
    """The bound at eta is allowed; just below it is not, unless eta is 0.5."""
    rows = good(*preferences)
    chosen = fit_eta(rows, max_damage=max_damage).chosen
    assert at_most(chosen.damaged, len(rows)) == chosen.at_most <= max_damage
    below = chosen.eta - 2e-6
    damaged = sum(p is not None and p > below for p in preferences)
    assert chosen.eta == 0.5 or at_most(damaged, len(rows)) > max_damage


def test_a_file_of_another_kind_is_told(tmp_path: Path) -> None:
    """And a missing one, with the command that writes one."""
    (tmp_path / "x.json").write_text('{"kind": "ranking-only"}')
    for name, why in (("x.json", "no calibration file of this version"), ("y.json", "cannot be")):
        with pytest.raises(UsageError, match=f"{why}.*--max-damage 0.05 --out {name}"):
            EtaCalibration.read(tmp_path / name)
