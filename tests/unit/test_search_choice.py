"""Which trial is chosen, how far the others are from it, and what is said of it."""

from __future__ import annotations

import pytest

from clear_pipeline.finetune.search.attempt import hopeless
from clear_pipeline.finetune.search.choice import difference, explained
from clear_pipeline.finetune.search.picture import search_svg
from clear_pipeline.finetune.search.report import SearchReport, Trial
from clear_pipeline.finetune.search.space import Axis, Range

AXES = (Axis("rate", range=Range(low=0.001, high=1, log=True)), Axis("rank", (4, 8)))


def trial(number: int, *losses: float, rate: float = 0.01, **values: object) -> Trial:
    given = {"number": number, "settings": {"rate": rate, "rank": 8}, "losses": losses, **values}
    return Trial.model_validate({"state": "finished", **given})


def report(*trials: Trial, **values: object) -> SearchReport:
    best = trials[0]
    given = {
        "method": "bayes",
        "rows": 100,
        "folds": len(best.losses),
        "early_stop": True,
        "trials": trials,
        "repeated": 0,
        "beside_best": {each.number: difference(each, best) for each in trials[1:]},
        "given": {"rate": 0.1, "rank": 8},
        "given_trial": None,
        "importance": {},
        **values,
    }
    return SearchReport.model_validate(given)


def test_difference_by_hand() -> None:
    """0.2, 0.3 and 0.1: mean 0.2, sd 0.1, times sqrt(1/3 + 1/2) = 0.0913, times t = 4.303."""
    found = difference(trial(1, 1.2, 1.4, 1.3), trial(2, 1.0, 1.1, 1.2))
    assert found.mean == pytest.approx(0.2)
    assert found.low == pytest.approx(0.2 - 0.39278, abs=1e-4)
    assert found.high == pytest.approx(0.2 + 0.39278, abs=1e-4)
    assert found.is_noise is True
    assert difference(trial(1, 1.2, 1.4, 1.31), trial(2, 1.0, 1.2, 1.1)).is_noise is False


def test_difference_of_one_fold() -> None:
    """It has no spread, so that nobody can say whether it is noise."""
    found = difference(trial(1, 1.25), trial(2, 1.0))
    assert (found.mean, found.low, found.high, found.is_noise) == (0.25, None, None, None)


def test_difference_over_common_folds() -> None:
    """A trial that was given up is compared on the folds that it has."""
    assert difference(trial(1, 2.0, 3.0), trial(2, 1.0, 1.0, 9.0)).mean == 1.5


def test_hopeless_by_hand() -> None:
    """Means over two folds of five trials before: 1, 2, 3, 4, 5; above the 3 in the middle."""
    earlier = [trial(n, n, n, 9.0) for n in range(1, 6)]
    assert hopeless((3.0, 3.2), earlier)
    assert not hopeless((3.0, 3.0), earlier)
    assert not hopeless((9.0,), earlier)  # one fold may be hard for all
    assert not hopeless((9.0, 9.0), earlier[:4])  # too few to say
    failed = [*earlier[:4], trial(5, 5.0, 5.0, state="failed")]
    assert not hopeless((9.0, 9.0), failed)


def test_the_choice_in_words() -> None:
    """The best, the one next to it, how many are its peers, and the settings as given."""
    said = "\n".join(
        explained(
            report(
                trial(3, 1.0, 1.1, 1.2, rate=0.02, best_at=0.6, rise=0.05),
                trial(1, 1.2, 1.4, 1.3, rate=0.1),
                trial(2, 2.0, 2.1, 2.2, rate=0.5),
                given_trial=1,
                importance={"rate": 0.9, "rank": 0.1},
            ),
            AXES,
        )
    )
    assert "Chosen: trial 3, rate 0.02, rank 8. Validation loss 1.1000, lowest of each" in said
    assert "mean of 3 folds from 1.0000 to 1.2000" in said
    assert "trial 1, rate 0.1, rank 8; its loss is 0.2000 [-0.1928, +0.5928] higher, no mo" in said
    assert "Of 2 other finished trials 1 cannot be told from it." in said
    assert "(rate 0.1, rank 8) are trial 1; its loss is 0.2000" in said
    assert "the search found nothing that is surely better." in said
    assert "What the losses depend on, by functional ANOVA: rate 90%, rank 10%." in said
    assert "rank lies at the edge of the space" in said
    assert "lowest after 60% of the steps that it made, and 0.0500 higher at the last" in said


def test_the_choice_of_one_split() -> None:
    """No interval is made up; and nothing is said of settings that no trial has."""
    said = "\n".join(explained(report(trial(2, 1.0, best_at=1.0, rise=0.0), trial(1, 1.5)), AXES))
    assert "its loss is 0.5000 higher.\n" in said
    assert "(rate 0.1, rank 8) are none of the trials: nothing is said of them." in said
    assert "Each trial was measured on one set of rows" in said
    assert "lowest at the end: it does not overfit yet" in said
    assert "cannot be told" not in said


def test_the_given_settings_are_best() -> None:
    """It is said as it is."""
    said = "\n".join(explained(report(trial(1, 1.0, 1.1), given_trial=1), AXES))
    assert "These are the settings as given (rate 0.1, rank 8): no trial did better." in said


def test_picture() -> None:
    """Losses from 1 to 3 stand from x 460 to 910; kinds of trials are told apart."""
    drawn = search_svg(
        report(
            trial(3, 1.0, 2.0),
            trial(1, 2.0, 2.0),
            trial(2, 2.0, 3.0, state="pruned"),
            given_trial=1,
        )
    )
    assert (
        '<g class="best"><title>1.5000</title><line class="whisker" x1="460.0" x2="685.0"' in drawn
    )
    assert '<g class="given"><title>2.0000</title>' in drawn
    assert '<g class="pruned"><title>2.5000</title>' in drawn
    assert '<circle class="fold" cx="910.0"' in drawn
    assert ">3: rate 0.01, rank 8</text>" in drawn
