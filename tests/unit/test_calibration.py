"""Calibration: figures by hand, fits that are what they say, files that hold together."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pyarrow as pa
import pytest

from calibration_rows import signals
from clear_pipeline.calibration import Calibration, Marks, ScoredBy, fit_marks, fit_ranking
from clear_pipeline.calibration.features import log_odds, sigmoid
from clear_pipeline.calibration.logistic import balanced, fit_logistic
from clear_pipeline.calibration.reliability import (
    brier,
    brier_skill,
    calibration_line,
    expected_calibration_error,
    reliability,
    reliability_bins,
    wilson,
)
from clear_pipeline.calibration.small_models import models_for
from clear_pipeline.errors import UsageError
from clear_pipeline.report.calibration import shown
from clear_pipeline.report.reliability import reliability_svg
from clear_pipeline.scoring.parts import F64, Flags, parts
from clear_pipeline.stages.base import Context, Shard, SilentProgress
from clear_pipeline.stages.calibrate import Calibrate
from clear_pipeline.stages.held import surveyed

P = np.array([0.8, 0.4, 0.1])
BAD = np.array([True, False, False])


@pytest.mark.parametrize(
    ("weight", "score", "skill"),
    [([1, 1, 1], 0.07, 1 - 0.07 / (2 / 9)), ([1, 1, 2], 0.055, 1 - 0.055 / 0.1875)],
)
def test_brier_score_and_skill_by_hand(weight: list[float], score: float, skill: float) -> None:
    """(0.04 + 0.16 + 0.01) / 3 against the base rate's 1/3 x 2/3; then the last mark for two."""
    weights = np.array(weight, np.float64)
    assert brier(P, BAD, weights) == pytest.approx(score)
    assert brier_skill(P, BAD, weights) == pytest.approx(skill)


def test_base_rate_has_no_skill() -> None:
    """A constant that knows the share of bad marks is the reference itself."""
    assert brier_skill(np.full(3, 1 / 3), BAD, np.ones(3)) == pytest.approx(0.0)


def grouped(*groups: tuple[float, int, int]) -> tuple[F64, Flags]:
    """(predicted, marks, bad among them) per group."""
    p = np.concatenate([np.full(n, p) for p, n, _ in groups])
    bad = np.concatenate([np.arange(n) < k for _, n, k in groups])
    return p, bad


@pytest.mark.parametrize(
    ("groups", "slope", "intercept"),
    [
        (((0.1, 4, 1), (0.9, 4, 3)), 0.5, 0.0),  # log 3 found where log 9 was said
        (((0.25, 4, 1), (0.75, 4, 3)), 1.0, 0.0),
        (((0.25, 4, 2), (0.75, 10, 9)), 1.0, np.log(3)),
    ],
)
def test_calibration_line_by_hand(
    groups: tuple[tuple[float, int, int], ...], slope: float, intercept: float
) -> None:
    """Overconfident by a factor of two in log-odds; right; too few bad rows predicted."""
    p, bad = grouped(*groups)
    assert calibration_line(p, bad, np.ones(len(p))) == pytest.approx((slope, intercept), abs=1e-4)


def test_bins_and_calibration_error_by_hand() -> None:
    """Twenty marks as predicted, twenty off by 0.2: a mean gap of 0.1."""
    p, bad = grouped((0.8, 20, 12), (0.1, 20, 2))
    low, high = bins = tuple(reliability_bins(p, bad, np.ones(40)))
    assert (low.predicted, low.observed.value) == pytest.approx((0.1, 0.1))
    assert (high.predicted, high.observed.value, high.marks) == pytest.approx((0.8, 0.6, 20))
    assert expected_calibration_error(bins) == pytest.approx(0.1)
    assert wilson(0.0, 20) == pytest.approx((0.0, 3.8416 / 23.8416))


def test_logistic_fit_is_scikit_learns() -> None:
    """Weights, balanced classes and regularisation mean what they mean there."""
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(0)
    rows = np.column_stack([np.ones(80), rng.normal(size=(80, 2))])
    good = rng.random(80) < sigmoid(1 + 2 * rows[:, 1])
    weight = rng.uniform(0.5, 2, 80)
    for strength in (0.1, 10.0):
        fits = fit_logistic(rows, good, np.stack([weight, balanced(good)]), strength=strength)
        for fit, options, given in zip(
            fits, ({}, {"class_weight": "balanced"}), (weight, None), strict=True
        ):
            theirs = LogisticRegression(C=strength, tol=1e-10, max_iter=5000, **options)
            theirs.fit(rows[:, 1:], good, sample_weight=given)
            assert fit == pytest.approx([theirs.intercept_[0], *theirs.coef_[0]], abs=1e-5)


def test_parted_rows_still_have_a_fit() -> None:
    """Where one signal parts all marks, nothing overflows and the order is right."""
    rows = np.column_stack([np.ones(6), [-9.0, -8, -7, 7, 8, 9]])
    (fit,) = fit_logistic(rows, np.arange(6) > 2, np.ones((1, 6)), strength=1e6)
    assert np.isfinite(fit).all()
    assert fit[1] > 0


def test_parts_have_a_name_each() -> None:
    """Every wording and every column is a feature; null is NaN."""
    maps = [[("yes_no", 0.9), ("belongs", 0.2)], None, [("yes_no", 0.1)]]
    table = pa.table(
        {
            "reflections": pa.array(maps, pa.map_(pa.string(), pa.float64())),
            "consistency": pa.array([None, 0.5, 1.0], pa.float64()),
            "score_error": ["x", "y", "z"],
        }
    )
    found = parts(table)
    assert list(found) == ["reflection.belongs", "reflection.yes_no", "consistency"]
    assert found["reflection.yes_no"] == pytest.approx([0.9, np.nan, 0.1], nan_ok=True)
    assert found["reflection.belongs"] == pytest.approx([0.2, np.nan, np.nan], nan_ok=True)
    assert found["consistency"] == pytest.approx([np.nan, 0.5, 1.0], nan_ok=True)


def test_log_odds_and_sigmoid_are_inverse() -> None:
    """0.5 is 0, 0.75 is log 3, and certainty stays finite."""
    assert log_odds(np.array([0.5, 0.75])) == pytest.approx([0.0, np.log(3)])
    assert sigmoid(log_odds(np.array([0.0, 0.3, 1.0]))) == pytest.approx([0, 0.3, 1], abs=1e-5)
    assert sigmoid(np.array([-1e9, 1e9])).tolist() == [0.0, 1.0]


HALF = np.arange(400) % 2 == 0


def corrupted(kinds: tuple[str, ...] = ("cut", "swap")) -> tuple[list[str | None], list[str]]:
    """Pairs of an original and a corruption of it, the kinds in turn."""
    corruption = [kinds[i // 2 % len(kinds)] if i % 2 == 0 else None for i in range(400)]
    return corruption, [f"row{i // 2}" for i in range(400)]


def test_a_corruption_left_out_is_measured_and_not_learnt() -> None:
    """Its rows do not move the weights, and its AUROC is that of a fit which never met it."""
    found = signals(HALF)
    kinds, groups = corrupted()
    upside = np.array([k == "cut" for k in kinds])
    found["likelihood"] = np.where(HALF, np.where(upside, 0.9, 0.1), 0.5)
    all_in, _ = fit_ranking(found, kinds, groups)
    without, _ = fit_ranking(found, kinds, groups, leave_out=["cut"])
    assert all_in.corruptions is not None
    assert without.corruptions is not None
    cut, swap = without.corruptions.corruptions
    assert (cut.corruption, cut.rows, cut.used, cut.seen) == ("cut", 100, False, None)
    assert (swap.used, swap.unseen) == (True, None)
    seen_by_all = all_in.corruptions.corruptions[0]
    assert cut.unseen is not None
    assert cut.unseen == seen_by_all.unseen
    assert cut.unseen < 0.6  # it learnt from the swaps that a high likelihood is good
    assert seen_by_all.seen is not None
    assert seen_by_all.seen > cut.unseen
    assert without.corruptions.corrupted == 100


def test_nothing_of_a_corruption_left_out_enters_the_file() -> None:
    """Whatever its rows hold, features, scales, weights and all figures but its own are equal."""
    kinds, groups = corrupted()
    cut = np.array([kind == "cut" for kind in kinds])
    files = []
    for filled in (0.5, 1.0, np.nan):
        found = signals(HALF)
        found["reflection"] = np.where(cut, filled, found["reflection"])
        found["exact_match"] = np.where(cut, filled, (np.arange(400) % 7) / 7)
        fitted, remarks = fit_ranking(found, kinds, groups, leave_out=["cut"])
        assert fitted.corruptions is not None
        others = [c for c in fitted.corruptions.corruptions if c.corruption != "cut"]
        known = fitted.corruptions.model_copy(update={"corruptions": tuple(others)})
        assert remarks == []
        files.append(fitted.model_copy(update={"corruptions": known}).model_dump_json())
    assert files[0] == files[1] == files[2]


def test_what_a_fit_never_met_does_not_scale_its_signals() -> None:
    """One swapped row far off the others: the fit on cut rows alone still weighs the signal."""
    kinds, groups = corrupted()
    found = {"logp_alone": np.where(HALF, -3.0, -1.0), "reflection": signals(HALF)["likelihood"]}
    found["logp_alone"][kinds.index("swap")] = -1e6
    fitted, _ = fit_ranking(found, kinds, groups)
    assert fitted.corruptions is not None
    assert [c.unseen for c in fitted.corruptions.corruptions if c.corruption == "swap"] == [1.0]


WEIGHED_TOO = "there it counts as its mean, and that it is missing is weighed too"


def labels(fitted: Calibration) -> list[str]:
    return [feature.label for feature in fitted.features]


def test_averages_go_where_what_they_are_made_of_is_there() -> None:
    """Of consistency, entailment and exact match the first goes; a part of no row in silence."""
    found = signals(HALF)
    found["reflection.yes_no"] = found["entailment"] = found["exact_match"] = found["reflection"]
    found["consistency"] = found["reflection"]
    found["likelihood"] = np.full(400, np.nan)
    fitted, remarks = fit_ranking(found, *corrupted())
    assert labels(fitted) == ["confidence", "entailment", "exact_match", "reflection.yes_no"]
    assert remarks == []


@pytest.mark.parametrize(
    ("lacking", "expected", "remark"),
    [
        (
            9,
            ["consistency", "reflection"],
            "consistency is missing in 9 of 400 rows: there it counts as its mean",
        ),
        (
            10,
            ["consistency", "reflection", "consistency missing"],
            f"consistency is missing in 10 of 400 rows: {WEIGHED_TOO}",
        ),
        (
            390,
            ["consistency", "reflection", "consistency missing"],
            f"consistency is missing in 390 of 400 rows: {WEIGHED_TOO}",
        ),
        (391, ["reflection"], "consistency is left out: only 9 of 400 rows have it"),
    ],
)
def test_a_part_that_some_rows_lack_is_kept_and_said_so(
    lacking: int, expected: list[str], remark: str
) -> None:
    """Its absence is a signal from ten rows of either kind on; below ten values it is none."""
    rng = np.random.default_rng(0)
    found = {"reflection": signals(HALF)["reflection"], "consistency": rng.random(400)}
    found["consistency"][rng.permutation(400)[:lacking]] = np.nan
    fitted, remarks = fit_ranking(found, *corrupted())
    assert labels(fitted) == expected
    assert remarks == [remark]


def test_draws_of_half_of_the_rows_tell_of_that_half() -> None:
    """Missing is the mean: 0 once standardised. Rows with draws are parted, the others are not."""
    drawn = np.arange(400) // 2 % 2 == 0
    draws = np.where(drawn, np.where(HALF, 0.25, 0.75), np.nan)
    found = {
        "reflection": np.full(400, 0.5),
        "entailment": draws,
        "exact_match": draws,
    }
    fitted, _ = fit_ranking(found, *corrupted(("swap",)))
    assert labels(fitted) == ["entailment", "exact_match", "reflection", "entailment missing"]
    first, absence = fitted.features[0], fitted.features[-1]
    assert (first.mean, first.scale, absence.mean, absence.scale) == (0.5, 0.25, 0.5, 0.5)
    assert fitted.corruptions is not None
    assert fitted.corruptions.signals["entailment"] == 1.0
    assert fitted.corruptions.signals["entailment missing"] == 0.5
    assert fitted.corruptions.auroc == pytest.approx(0.875, abs=0.01)  # (1 + 1 + 1 + 0.5) / 4
    value = fitted.calibrated(found)
    assert value[drawn & ~HALF].min() > 0.9
    assert value[drawn & HALF].max() < 0.1
    assert value[~drawn] == pytest.approx(0.5, abs=0.01)


def test_a_run_is_told_which_rows_lack_a_signal() -> None:
    """Four of ten rows have draws: once, with what their absence counts as."""
    drawn = np.arange(400) // 2 % 2 == 0
    draws = np.where(drawn, np.where(HALF, 0.25, 0.75), np.nan)
    fitted, _ = fit_ranking({"consistency": draws}, *corrupted())
    assert labels(fitted) == ["consistency", "consistency missing"]
    progress = SilentProgress()
    given = ([0.5] * 4 + [None] * 2, [None] * 4)
    tables = [pa.table({"consistency": pa.array(values, pa.float64())}) for values in given]
    shards = [(Shard("s", table), [True] * table.num_rows) for table in tables]
    assert surveyed(Calibrate(file=fitted), shards, Context(progress=progress)) == [None, None]
    assert progress.notes[0] == f"calibrate: 6 of 10 rows have no consistency; {WEIGHED_TOO}"
    assert len(progress.notes) == 2  # the other: that a ranking is no probability


def test_marks_weigh_a_part_that_some_rows_lack() -> None:
    """Its absence is a weight of its own, so that twenty marks of either kind more are needed."""
    found = {name: signals(HALF)[name] for name in ("reflection", "confidence")}
    found["consistency"] = np.where(np.arange(400) // 2 % 2, np.nan, found["reflection"])
    few, _ = fit_marks(found, marks_of(HALF, 29, 29), score="confidence")
    many, remarks = fit_marks(found, marks_of(HALF, 30, 30), score="confidence")
    assert few.marks is not None
    assert many.marks is not None
    assert [c.signals for c in few.marks.candidates] == [("confidence",)]
    parts_candidate = many.marks.candidates[-1]
    assert parts_candidate.signals == ("consistency", "reflection", "consistency missing")
    assert remarks == [] or "consistency is missing in 200 of 400 rows" in remarks[0]


@pytest.mark.parametrize(
    ("rows", "leave_out", "message"),
    [
        (400, ["gone"], "no corruption gone; there are cut, swap"),
        (400, ["cut", "swap"], "no corruption is left"),
        (30, [], "15 originals; at least 20"),
    ],
)
def test_a_ranking_needs_something_to_learn_from(
    rows: int, leave_out: list[str], message: str
) -> None:
    """Unknown or no corruptions and too few originals are refused."""
    kinds, groups = corrupted()
    found = {name: values[:rows] for name, values in signals(HALF).items()}
    with pytest.raises(UsageError, match=message):
        fit_ranking(found, kinds[:rows], groups[:rows], leave_out=leave_out)


def marks_of(bad: Flags, good_marks: int, bad_marks: int) -> Marks:
    rows = np.concatenate([np.flatnonzero(~bad)[:good_marks], np.flatnonzero(bad)[:bad_marks]])
    return Marks(rows, bad[rows])


@pytest.mark.parametrize(
    ("good", "bad", "missing"),
    [(26, 24, "1 more bad"), (24, 40, "1 more good"), (10, 5, "15 more good and 20 more bad")],
)
def test_too_few_marks_are_refused_with_what_is_missing(good: int, bad: int, missing: str) -> None:
    """At least 50, at least 25 of either kind."""
    with pytest.raises(UsageError, match=rf"{good} good and {bad} bad.*mark {missing}"):
        fit_marks(signals(HALF), marks_of(HALF, good, bad), score="confidence")


def test_marks_give_honest_figures() -> None:
    """On a good signal: skill above 0 with its interval, noise rate around the truth."""
    bad = np.random.default_rng(1).random(1000) < 0.3
    rows = np.arange(150)
    fitted, _ = fit_marks(signals(bad), Marks(rows, bad[rows]), score="confidence")
    assert fitted.marks is not None
    assert fitted.marks.reliability.skill.low > 0.3
    assert 0.5 < fitted.marks.reliability.slope < 2
    rate = fitted.marks.noise_rate
    assert rate.low < bad.mean() < rate.high
    assert rate.high - rate.low < 0.2
    good = fitted.calibrated(signals(bad))
    assert abs(good[~bad].mean() + good[bad].mean() - 1) < 0.3


def test_signals_of_pure_noise_have_no_skill() -> None:
    """Selection inside the folds: twelve useless candidates do not fake a figure."""
    rng = np.random.default_rng(0)
    bad = rng.random(300) < 0.4
    noise = {name: rng.random(300) for name in ("confidence", "reflection", "likelihood")}
    fitted, _ = fit_marks(noise, Marks(np.arange(100), bad[:100]), score="confidence")
    assert fitted.marks is not None
    assert fitted.marks.reliability.skill.low < 0 < fitted.marks.reliability.skill.high + 0.02


def test_weights_undo_a_sample_that_prefers_bad_rows() -> None:
    """Bad rows marked three times as often: weighted, the noise rate is that of the run."""
    bad = np.arange(2000) % 5 == 0
    rng = np.random.default_rng(3)
    rows = np.concatenate(
        [rng.choice(np.flatnonzero(b), n, replace=False) for b, n in ((bad, 150), (~bad, 150))]
    )
    weight = np.where(bad[rows], 400 / 150, 1600 / 150)
    rate = {}
    for name, given in (("plain", None), ("weighted", weight)):
        fitted, _ = fit_marks(
            signals(bad, noise=3.0), Marks(rows, bad[rows], given), score="confidence"
        )
        assert fitted.marks is not None
        rate[name] = fitted.marks.noise_rate
    assert rate["weighted"].low < 0.2 < rate["weighted"].high
    assert rate["plain"].low > 0.25


def test_no_more_weights_than_marks_allow() -> None:
    """Ten marks of the rarer kind per weight: with 25 two parts may be weighed, not three."""
    found = signals(HALF) | {"entailment": np.full(400, 0.5)}
    few, _ = fit_marks(found, marks_of(HALF, 40, 25), score="confidence")
    many, _ = fit_marks(found, marks_of(HALF, 40, 30), score="confidence")
    assert few.marks is not None
    assert many.marks is not None
    assert [c.name for c in few.marks.candidates] == ["confidence"]
    assert [c.name for c in many.marks.candidates] == ["confidence", "parts"]


def test_a_ranking_is_stretched_as_a_whole() -> None:
    """As one candidate its weights keep their proportions, and it may win."""
    found = signals(HALF, noise=2.0)
    found["confidence"] = np.random.default_rng(5).random(400)
    found |= {f"reflection.{i}": found["reflection"] for i in range(4)}
    ranking, _ = fit_ranking(found, *corrupted())
    fitted, _ = fit_marks(found, marks_of(HALF, 30, 30), score="confidence", ranking=ranking)
    assert fitted.marks is not None
    assert fitted.marks.chosen in {"ranking", "parts"}
    assert "ranking" in [c.name for c in fitted.marks.candidates]


def test_the_lower_bound_narrows_with_marks() -> None:
    """Four times the marks, about half the error in log-odds."""
    bad = np.random.default_rng(2).random(2000) < 0.4
    found = signals(bad)
    gaps = []
    for n in (100, 400):
        fitted, _ = fit_marks(found, Marks(np.arange(n), bad[:n]), score="confidence")
        gaps.append(log_odds(fitted.calibrated(found)) - log_odds(fitted.lower_bound(found)))
    assert (gaps[0] > 0).all()
    assert 0.3 < np.median(gaps[1]) / np.median(gaps[0]) < 0.8


@pytest.fixture(scope="module")
def ranking() -> Calibration:
    return fit_ranking(signals(HALF), *corrupted())[0]


def test_a_ranking_is_shown_as_what_it_is() -> None:
    """By name, with what it was fitted on, what it has not seen and what it turned; no picture."""
    found = {"reflection": signals(HALF, inverted=True)["reflection"]}
    by = ScoredBy(model="elsewhere:big", preset="fast")
    fitted, _ = fit_ranking(found, *corrupted(), leave_out=["cut"], scored_by=by)
    told = shown(fitted)
    assert told.says.startswith("ranking-only: an order of rows, no probability. Fitted on 200")
    values = {figure.name: figure.value for figure in told.figures}
    assert float(values.pop("AUROC")) > 0.9
    assert values == {
        "corruptions": "swap",
        "left out": "cut",
        "turned": "reflection",
        "fitted for": "elsewhere:big, preset fast",
    }
    assert told.reliability is None


def test_a_file_reads_back_as_it_was(ranking: Calibration, tmp_path: Path) -> None:
    """Equal content, and the same again through a dumped config."""
    ranking.save(tmp_path / "c.json")
    assert Calibration.read(tmp_path / "c.json") == ranking
    assert Calibration.model_validate(ranking.model_dump(mode="json")) == ranking


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, r"format: Input should be 1"),
        ({"kind": "probability"}, "a probability has marks and a covariance"),
        ({"features": []}, "features"),
        ({"secret": 1}, "secret: Extra inputs"),
    ],
)
def test_a_file_of_another_version_is_refused(
    ranking: Calibration, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    """With its path, what is wrong and what to type."""
    path = tmp_path / "c.json"
    path.write_text(json.dumps(ranking.model_dump(mode="json") | change))
    with pytest.raises(UsageError, match=rf"c\.json: no calibration file.*{message}"):
        Calibration.read(path)
    with pytest.raises(UsageError, match=r"gone\.json: cannot be read"):
        Calibration.read(tmp_path / "gone.json")


def test_a_ranking_that_gives_all_rows_one_value_is_stretched_by_nothing(
    ranking: Calibration,
) -> None:
    """The mean of equal numbers is off by the last digit: that is no spread to divide by."""
    rows = np.arange(111)
    for value in np.linspace(0.05, 0.95, 19):
        found = {feature.name: np.full(111, value) for feature in ranking.features}
        models = models_for(found, rows, rows < 50, score="confidence", ranking=ranking)
        (stretched,) = (model for model in models if model.name == "ranking")
        assert np.abs(stretched.basis).max() < 1e3


def test_the_plot_has_a_point_per_bin() -> None:
    """A picture of its own: well-formed, no script, no link, one circle per bin."""
    p, bad = grouped((0.8, 20, 12), (0.1, 20, 2))
    svg = reliability_svg(reliability(p, bad, np.ones(40), resamples=20))
    root = ET.fromstring(svg)
    tags = [element.tag.rpartition("}")[2] for element in root.iter()]
    assert tags.count("circle") == 2
    assert not {"script", "a", "image"} & set(tags)
    assert "predicted 0.800, found 0.600" in svg
