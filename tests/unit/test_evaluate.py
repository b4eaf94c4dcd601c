"""Figures about scores: hand-computed values, labels files, and a whole run."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from clear_pipeline.config import build_config
from clear_pipeline.errors import UsageError
from clear_pipeline.evaluate import (
    Labels,
    detection,
    evaluate_scores,
    paired_difference,
)
from clear_pipeline.evaluate.scores import prompt_overlap
from clear_pipeline.llm.base import ChatRequest, Choice, Token
from clear_pipeline.llm.scripted import ScriptedChat
from clear_pipeline.pipeline import Pipeline
from clear_pipeline.run import Run, open_run

SCORES = [0.1, 0.4, 0.35, 0.8]
BAD = [True, True, False, False]


def test_auroc_and_average_precision_by_hand() -> None:
    """Of four (bad, good) pairs three are in order; precision 1 at the first bad row, 2/3 next."""
    found = detection(SCORES, BAD)
    assert (found.n, found.n_bad) == (4, 2)
    assert found.auroc.value == pytest.approx(3 / 4)
    assert found.average_precision.value == pytest.approx((1 + 2 / 3) / 2)


def test_ties_count_half() -> None:
    """A constant score is at chance: AUROC 0.5, average precision the share of bad rows."""
    found = detection([0.5] * 4, [True, False, False, False])
    assert found.auroc.value == found.auroc.low == found.auroc.high == 0.5
    assert found.average_precision.value == found.average_precision.low == 0.25


def test_a_perfect_score_has_no_uncertainty() -> None:
    """No resample of separated classes mixes them."""
    found = detection(range(20), [True] * 10 + [False] * 10)
    assert found.auroc.value == found.auroc.low == found.auroc.high == 1.0
    assert found.average_precision.low == pytest.approx(1.0)


def test_resampled_figures_are_those_of_the_resampled_rows() -> None:
    """The interval is that of scikit-learn's figures over explicit resamples."""
    from sklearn.metrics import average_precision_score, roc_auc_score

    rng = np.random.default_rng(1)
    scores = rng.integers(0, 12, 60).astype(float)
    bad = rng.random(60) < 0.3
    found = detection(scores, bad, resamples=100, seed=7)
    draws = np.random.default_rng(7)
    groups = [np.flatnonzero(bad), np.flatnonzero(~bad)]
    drawn = np.hstack([rows[draws.integers(len(rows), size=(100, len(rows)))] for rows in groups])
    for estimate, figure in (
        (found.auroc, roc_auc_score),
        (found.average_precision, average_precision_score),
    ):
        figures = [figure(bad[rows], -scores[rows]) for rows in drawn]
        assert [estimate.low, estimate.high] == pytest.approx(np.percentile(figures, (2.5, 97.5)))


def test_the_interval_has_the_width_that_theory_gives() -> None:
    """About 2 x 1.96 standard errors after Hanley and McNeil (1982), for 100 + 100 normal rows."""
    rng = np.random.default_rng(0)
    bad = np.arange(200) < 100
    found = detection(rng.normal(size=200) - bad, bad)
    area = found.auroc.value
    first, second = area / (2 - area), 2 * area**2 / (1 + area)
    variance = area * (1 - area) + 99 * (first - area**2) + 99 * (second - area**2)
    assert found.auroc.high - found.auroc.low == pytest.approx(
        2 * 1.96 * math.sqrt(variance) / 100, rel=0.2
    )


def test_the_seed_decides_the_interval() -> None:
    """Equal seeds give equal intervals, other seeds others."""
    rng = np.random.default_rng(0)
    scores, bad = rng.random(50), rng.random(50) < 0.4
    assert detection(scores, bad) == detection(scores, bad)
    assert detection(scores, bad).auroc.low != detection(scores, bad, seed=1).auroc.low


def test_a_paired_difference_sees_through_common_noise() -> None:
    """A score against itself differs by exactly 0; a better one's interval leaves out 0."""
    rng = np.random.default_rng(0)
    bad = np.arange(200) < 100
    weak = rng.normal(size=200)
    strong = weak - 0.5 * bad
    assert paired_difference(weak, weak, bad).high == 0.0
    better = paired_difference(strong, weak, bad)
    assert 0 < better.low < better.value < better.high
    alone = detection(weak, bad).auroc
    assert better.high - better.low < alone.high - alone.low


@pytest.mark.parametrize(
    ("scores", "bad", "message"),
    [
        ([0.1, 0.2], [True, True], "both kinds"),
        ([0.1, math.nan], [True, False], "finite"),
        ([0.1], [True, False], "2 labels"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    scores: list[float], bad: list[bool], message: str
) -> None:
    """One class, a missing score, or lengths that differ."""
    with pytest.raises(ValueError, match=message):
        detection(scores, bad)


def test_prompt_overlap_is_a_share_of_distinct_words() -> None:
    """Two of three distinct words of the response stand in the prompt."""
    assert prompt_overlap("Name the big river", "Big big river Elbe") == pytest.approx(2 / 3)
    assert prompt_overlap("Name it", "!") == 0.0


def yes_unless_wrong(request: ChatRequest, sample: int) -> Choice:
    """A judge that says Yes with 0.9 - 0.01 per letter x, and 0.2 to answers with `wrong`."""
    text = request.messages[-1].text
    share = 0.2 if "wrong" in text else 0.9 - 0.01 * text.count("x")
    top = (("Yes", math.log(share)), ("No", math.log(1 - share)))
    return Choice("Yes", "stop", (Token("Yes", top[0][1], top),))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Ten good rows r0 .. r9, two bad ones, a copy of r0, and two rows of one source id."""
    folder = tmp_path_factory.mktemp("evaluate")
    rows = [(f"r{i}", f"Question {i}?", f"Answer {'x' * i} {i}") for i in range(10)]
    rows += [("bad1", "Question one?", "wrong"), ("bad2", "Question two?", "Quite wrong")]
    rows += [
        ("copy", "Question 0?", "Answer  0"),
        ("twice", "Is it?", "Yes"),
        ("twice", "No?", "No"),
    ]
    (folder / "data.jsonl").write_text(
        "\n".join(json.dumps({"id": i, "prompt": p, "completion": r}) for i, p, r in rows)
    )
    model = ScriptedChat(yes_unless_wrong)
    models = dict.fromkeys(("scorer", "candidate", "judge"), model)
    config = build_config(preset="fast", stages=["dedup", "score", "filter"])
    Pipeline(config, models=models).run(folder / "data.jsonl", out=folder / "run")
    return open_run(folder / "run")


def test_a_run_is_measured_against_source_ids(run: Run) -> None:
    """Confidence finds both bad rows; what is left out is counted or listed."""
    marks = {f"r{i}": False for i in range(10)} | {"bad1": True, "bad2": True}
    labels = Labels(
        marks | {"copy": False, "twice": False, "gone": True}, unlabelled=(2, 5), excluded=1
    )
    report = evaluate_scores(run, labels, resamples=50)
    confidence = report.scores[0]
    assert confidence.name == "confidence"
    assert (confidence.detection.n, confidence.detection.n_bad) == (12, 2)
    assert confidence.detection.auroc.value == 1.0
    assert "reflection" in [named.name for named in report.scores]
    assert report.matched_by == "source_id"
    assert report.unscored == ("data.jsonl:13",)
    assert (report.unmatched, report.ambiguous, report.left_out) == (1, 1, 3)
    length, overlap = report.baselines
    assert length.name == "response_length"
    assert length.detection.auroc.value == pytest.approx((10 + 7.5) / 20)
    assert overlap.name == "prompt_overlap"
    assert overlap.detection.auroc.value == 1.0


def test_a_run_is_measured_against_row_ids(run: Run) -> None:
    """Ids that match more row ids than source ids are row ids; the report is plain JSON."""
    report = evaluate_scores(
        run, Labels({"data.jsonl:1": False, "data.jsonl:11": True}), resamples=10
    )
    assert report.matched_by == "id"
    plain = json.loads(json.dumps(report.to_json()))
    assert plain["scores"][0]["best_direction"] == 1.0


@pytest.mark.parametrize(
    ("marks", "message"),
    [
        ({"r0": False, "r1": False}, "all 2 labelled rows with a confidence are good.*--bad"),
        ({"gone": True}, r"none of the 1 labelled ids is in the run:\n  gone\n.*'r0'.*--id"),
        ({"copy": True}, "none of the 1 labelled rows has a confidence"),
    ],
)
def test_labels_that_say_nothing_are_refused(
    run: Run, marks: dict[str, bool], message: str
) -> None:
    """One class only, no matching id, or no scored row: what was found and what to do."""
    with pytest.raises(UsageError, match=message):
        evaluate_scores(run, Labels(marks))


def test_a_row_of_weight_two_counts_as_two_rows() -> None:
    """Bad 0.1 and 0.6, good 0.5 and 0.9; with 0.1 twice: 5 of 6 pairs instead of 3 of 4."""
    scores, bad = [0.1, 0.6, 0.5, 0.9], [True, True, False, False]
    weighed = detection(scores, bad, weight=[2, 1, 1, 1])
    twice = detection([0.1, *scores], [True, *bad])
    assert weighed.auroc.value == pytest.approx(5 / 6) == pytest.approx(twice.auroc.value)
    assert weighed.average_precision.value == pytest.approx(twice.average_precision.value)
    assert detection(scores, bad).auroc.value == pytest.approx(3 / 4)
    assert weighed.auroc.low <= weighed.auroc.value <= weighed.auroc.high
