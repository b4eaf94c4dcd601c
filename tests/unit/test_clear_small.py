"""Tasks, noise, arms and intervals of the paper's experiment in small, by hand."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import pytest

from benchmarks.clear_small_arms import (
    ArmResult,
    TrainingSet,
    Unit,
    as_hex,
    from_hex,
    repair_counts,
    units,
    wrong_rows,
)
from benchmarks.clear_small_picture import picture
from benchmarks.clear_small_report import Figures, verdict, write_report
from benchmarks.clear_small_tasks import KINDS, TASKS, noisy_rows, rows_of
from benchmarks.results_file import ResultsFile
from clear_pipeline.errors import UsageError
from clear_pipeline.evaluate.statistics import Estimate


@pytest.mark.parametrize("task", TASKS)
def test_sentences_hold_their_answers_and_are_never_met_again(task: str) -> None:
    """Held-out sentences are none of those that are learnt, and a wrong answer is wrong."""
    train, test = rows_of(task, 60, 60)
    assert len({row.sentence for row in (*train, *test)}) == 120
    for row in train:
        answer = json.loads(row.clean)
        assert answer.get("city", answer.get("day")) in row.sentence
        assert row.wrong != row.clean
    assert not {row.sentence for row in rows_of(task, 60, 60, pool="tune")[0]} & {
        row.sentence for row in train
    }


def test_noise_is_of_three_kinds() -> None:
    """A cut answer begins the true one, another value is one field, another row's is JSON."""
    rows, _ = rows_of("events", 90, 1)
    assert Counter(row.kind for row in rows) == dict.fromkeys(KINDS, 30)
    for row in rows:
        if row.kind == "cut off":
            assert row.clean.startswith(row.wrong)
            continue
        wrong, clean = json.loads(row.wrong), json.loads(row.clean)
        changed = [name for name in clean if wrong[name] != clean[name]]
        assert len(changed) == 1 if row.kind == "other value" else changed


def test_more_noise_holds_what_less_noise_does() -> None:
    """20, 40 and 60 % of 60 rows are 12, 24 and 36, of each kind as many; a seed draws its own."""
    rows, _ = rows_of("orders", 60, 1)
    sets = [noisy_rows(rows, percent=percent, seed=1) for percent in (20, 40, 60)]
    assert [len(each) for each in sets] == [12, 24, 36]
    assert sets[0] < sets[1] < sets[2]
    assert Counter(rows[n].kind for n in sets[0]) == dict.fromkeys(KINDS, 4)
    assert noisy_rows(rows, percent=20, seed=2) != sets[0]


def test_a_seed_is_complete_before_the_next_begins() -> None:
    """Six units of a seed for two tasks and three levels."""
    made = units([1, 2], ["orders", "events"], [20, 40, 60])
    assert [unit.seed for unit in made] == [1] * 6 + [2] * 6
    assert made[:2] == [Unit(1, "orders", 20), Unit(1, "events", 20)]


def _given(wrong: frozenset[int] = frozenset()) -> TrainingSet:
    rows, _ = rows_of("orders", 6, 1)
    return TrainingSet(TASKS["orders"], rows, wrong, seed=1)


def test_the_confident_half_is_of_the_answers_that_are_there() -> None:
    """Row 0 has its wrong answer and that one's score; a row without a score never stays."""
    given = _given(frozenset({0}))
    pairs = [(0.9, 0.1), (0.8, 0.0), (0.7, 0.0), (None, 0.0), (0.2, 0.0), (0.1, 0.0)]
    observed = given.observed(pairs)
    assert observed == [0.1, 0.8, 0.7, None, 0.2, 0.1]
    assert given.best_half(observed) == [1, 2, 4]


def test_ties_of_a_rating_are_drawn() -> None:
    """Five rows of one rating: the best one stays, and which other two is the seed's matter."""
    given = _given()
    half = given.best_half([4.0, 5.0, 4.0, 4.0, 4.0, 4.0], draw=True)
    assert len(half) == 3
    assert 1 in half
    assert half == given.best_half([4.0, 5.0, 4.0, 4.0, 4.0, 4.0], draw=True)


def test_the_random_half_is_as_large_as_the_confident_one() -> None:
    """Three of six, and a validation set of one."""
    given = _given()
    assert len(given.random_half()) == 3
    assert len(given.validation()) == 1


def test_wrong_answers_in_a_set_are_counted() -> None:
    """Of six rows two have another answer; a candidate that says the same is right."""
    given = _given(frozenset({1, 2}))
    clean = {row.id: row.clean for row in given.rows}
    assert wrong_rows(given.examples(range(6)), clean) == 2
    assert wrong_rows([given.example(1, given.rows[1].clean)], clean) == 0
    assert repair_counts(["replaced", "refused", "replaced"], 1) == {
        "refused": 1, "replaced": 2, "right": 1,
    }  # fmt: skip


def test_bits_come_back() -> None:
    """1, 0, 1, 1 is 0xb0, with four bits that are none."""
    assert as_hex([True, False, True, True]) == "b0"
    assert from_hex("b0", 4).tolist() == [1, 0, 1, 1]


def _arm(seed: int, arm: str, right: list[bool], **other: object) -> ArmResult:
    given = {
        "task": "orders",
        "percent": 20,
        "settings": {"test": len(right)},
        "rows": 10,
        "noisy": 2,
        "steps": 4,
        "fields": 1.0,
        "valid": 1.0,
        "train_s": 1.0,
        "predict_s": 1.0,
        **other,
    }
    return ArmResult(seed=seed, arm=arm, right=as_hex(right), **given)  # type: ignore[arg-type]


def _write(folder: Path, *arms: ArmResult) -> Path:
    file = ResultsFile(folder / "arms-1.jsonl")
    for arm in arms:
        file.add(arm)
    file.close()
    return folder


def test_differences_are_paired_by_seed_and_row(tmp_path: Path) -> None:
    """0.75 - 0.25 on each of four rows and two seeds; where every pair says +1 there is no doubt.

    A seed that lacks one of the two arms takes no part.
    """
    folder = _write(
        tmp_path,
        _arm(1, "full", [True, False, False, False]),
        _arm(1, "auto-filter", [True, True, True, False]),
        _arm(2, "full", [True, False, False, False]),
        _arm(2, "auto-filter", [True, True, True, False]),
        _arm(3, "full", [True, True, True, True]),
        _arm(1, "random half", [False] * 4),
        _arm(1, "auto-correct", [True] * 4),
    )
    figures = Figures.read(folder)
    seeds, found = figures.difference(["orders"], [20], "auto-filter", "full")
    assert found is not None
    assert (seeds, found.value) == (2, 0.5)
    assert figures.difference(["orders"], [20], "auto-correct", "random half") == (
        1,
        Estimate(1.0, 1.0, 1.0),
    )
    mean = figures.mean(["orders"], [20], "full")
    assert mean is not None
    assert mean.value == pytest.approx(0.5)
    told = write_report(folder)
    assert "Seeds: [1, 2, 3]; of [1] all these arms are there" in told
    assert re.search(r"\| full \| 0\.500 \[[0-9., ]+\], 3 \|", told)
    assert "| orders | full | 10, 20.0%, 4 steps |" in told
    assert write_report(folder / "arms-1.jsonl") == told
    drawn = picture(figures)
    assert drawn.count("<circle") == 4 + 4
    assert ">full<" in drawn
    assert ">auto-filter (2 of 3 seeds)<" in drawn
    assert "rating half" not in drawn


def test_verdicts_go_by_the_interval() -> None:
    """Above only where the whole interval is; one seed does not speak for others."""
    assert verdict(Estimate(0.1, 0.01, 0.2), 2) == "above"
    assert verdict(Estimate(0.1, 0.0, 0.2), 2) == "not resolved"
    assert verdict(Estimate(-0.1, -0.2, -0.01), 2) == "below"
    assert verdict(Estimate(0.1, 0.01, 0.2), 1) == "above on this seed"


def test_both_tasks_take_seeds_that_have_both(tmp_path: Path) -> None:
    """Seed 2 lacks `events`: it counts for `orders` alone, and sets are told task by task."""
    folder = _write(
        tmp_path,
        *(
            _arm(seed, arm, [arm == "auto-filter" and seed == 1], task=task, noisy=noisy)
            for seed, task, noisy in ((1, "orders", 2), (1, "events", 4), (2, "orders", 4))
            for arm in ("auto-filter", "full")
        ),
    )
    figures = Figures.read(folder)
    assert figures.difference(["orders", "events"], [20], "auto-filter", "full") == (
        1,
        Estimate(1.0, 1.0, 1.0),
    )
    seeds, found = figures.difference(["orders"], [20], "auto-filter", "full")
    assert found is not None
    assert (seeds, found.value) == (2, 0.5)
    told = write_report(folder)
    assert "| orders | full | 10, 30.0%, 4 steps |" in told
    assert "| events | full | 10, 40.0%, 4 steps |" in told


def test_arms_of_other_settings_are_not_mixed(tmp_path: Path) -> None:
    """A folder with two learning rates makes no table."""
    folder = _write(
        tmp_path, _arm(1, "full", [True]), _arm(2, "full", [True], settings={"test": 1, "r": 2})
    )
    with pytest.raises(UsageError, match="several settings"):
        Figures.read(folder)


def test_the_best_settings_are_those_of_both_tasks(tmp_path: Path) -> None:
    """Mean 0.8 beats 0.7; of equal means the one with fewer epochs; without any trial none.

    The rate is the highest that was tried, and 8 epochs were tried beside the 4.
    """
    pytest.importorskip("torch")
    from benchmarks.clear_small_tune import Tried, at_edge, chosen
    from clear_pipeline.finetune.lora import Lora

    assert chosen(tmp_path, Lora()) == Lora()
    file = ResultsFile(tmp_path / "tune-1.jsonl")
    for rate, epochs, orders, events in (
        (1e-3, 4, 0.7, 0.7), (2e-3, 8, 0.9, 0.7), (2e-3, 4, 0.7, 0.9),
    ):  # fmt: skip
        file.add(Tried("orders", rate, epochs, 40, orders))
        file.add(Tried("events", rate, epochs, 40, events))
    file.add(Tried("orders", 5e-4, 4, 40, 1.0))
    file.close()
    found = chosen(tmp_path, Lora())
    assert (found.learning_rate, found.epochs) == (2e-3, 4)
    assert at_edge(tmp_path, found) == ["rate 0.002"]


def test_half_a_set_gets_the_updates_of_the_whole() -> None:
    """400 rows in 13 batches of 32, 8 times, are 104; 200 in 7 take 15 times, 254 in 8 take 13."""
    pytest.importorskip("torch")
    from benchmarks.clear_small_run import epochs_for_steps_of
    from clear_pipeline.finetune.lora import Lora

    training = Lora(epochs=8, batch_size=32)
    found = [epochs_for_steps_of(training, 400, rows=rows) for rows in (400, 200, 254)]
    assert found == [8, 15, 13]
