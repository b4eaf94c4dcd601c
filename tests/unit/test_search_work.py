"""A search from its files to its choice, with a trainer whose losses are a formula."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from clear_pipeline.errors import (
    MissingExtraError,
    RunFailedError,
    RunMismatchError,
    UsageError,
)
from clear_pipeline.finetune import TrainingContext, TrainingData, fine_tune
from clear_pipeline.finetune.search import (
    Axis,
    SearchReport,
    Trial,
    read_search,
    search,
    with_values,
)
from clear_pipeline.finetune.search.sampler import importance
from clear_pipeline.stages.base import Progress, SilentProgress
from measuring_trainer import Measuring, calls, rows

pytest.importorskip("optuna", reason="the extra `train` is not installed")

RATES = "{method: grid, folds: 2, space: {rate: [0.001, 0.01, 0.1]}}"


def searched(
    folder: Path,
    text: str,
    *,
    progress: Progress | None = None,
    trials: int | None = None,
    **given: Any,  # noqa: ANN401
) -> SearchReport:
    """A search on 20 rows with this file, in `folder/out`."""
    (folder / "search.yaml").write_text(text)
    trainer = Measuring(**given)
    settings, axes = read_search(str(folder / "search.yaml"), trainer, trials=trials)
    data = TrainingData(rows(folder, 20), rows(folder, 4, "valid.jsonl"))
    ctx = TrainingContext(folder / "out", progress or SilentProgress())
    return asyncio.run(search(trainer, data, ctx, settings, axes))


def without_times(report: SearchReport) -> dict[str, Any]:
    told = report.model_dump()
    for trial in told["trials"]:
        del trial["seconds"]
    return told


def test_a_grid(tmp_path: Path) -> None:
    """Every point is measured on both folds, the lowest mean is chosen, and all of it is written.

    At 0.01 the losses are 1.04 + 0.1 and 1.04 + 0.2; at the two others 1 more.
    """
    report = searched(tmp_path, RATES)
    assert len(calls(tmp_path / "out")) == 6
    assert report.chosen.settings == {"rate": 0.01}
    assert report.chosen.losses == pytest.approx((1.14, 1.24))
    assert [round(trial.loss, 9) for trial in report.trials] == [1.19, 2.19, 2.19]
    assert report.given == {"rate": 0.1}
    assert report.trial(report.given_trial or 0).settings == {"rate": 0.1}
    assert report.chosen.best_at == 0.5
    assert report.chosen.rise == pytest.approx(0.5)
    written = SearchReport.model_validate_json((tmp_path / "out/search.json").read_bytes())
    assert written == report
    assert "<svg" in (tmp_path / "out/search.svg").read_text()
    assert not list((tmp_path / "out").rglob("checkpoints"))


def test_the_same_again_trains_nothing(tmp_path: Path) -> None:
    """A finished trial is never trained again; more of them may follow."""
    first = searched(tmp_path, RATES, trials=2)
    before = len(calls(tmp_path / "out"))
    assert before == 4
    assert searched(tmp_path, RATES, trials=2) == first
    assert len(calls(tmp_path / "out")) == 4
    assert len(searched(tmp_path, RATES).trials) == 3
    assert len(calls(tmp_path / "out")) == 6


BAYES = """
trials: 14
folds: 2
space:
  rate: {low: 0.0001, high: 1, log: true}
  width: {low: 0, high: 9}
"""


def test_a_bayesian_search(tmp_path: Path) -> None:
    """The settings as given come first, and what follows finds a better rate; with words for it."""
    report = searched(tmp_path, BAYES)
    assert report.given_trial == 1
    assert report.chosen.loss < report.trial(1).loss
    assert next(iter(report.importance)) == "rate"
    assert "Chosen: trial" in report.words[0]


class StoppedError(Exception):
    """By the test, in the middle of a search."""


class Stopping(SilentProgress):
    """Ends the process's work once so many trials were noted."""

    def __init__(self, trials: int) -> None:
        super().__init__()
        self._left = trials

    def note(self, text: str) -> None:
        self._left -= text.startswith("trial ")
        if not self._left:
            raise StoppedError


def test_a_search_that_was_stopped_goes_on_alike(tmp_path: Path) -> None:
    """Stopped after 3 trials and after 11, it tries the same and comes to the same."""
    whole, parted = tmp_path / "whole", tmp_path / "parted"
    whole.mkdir()
    parted.mkdir()
    expected = searched(whole, BAYES)
    for trials in (3, 8):
        with pytest.raises(StoppedError):
            searched(parted, BAYES, progress=Stopping(trials))
    assert without_times(searched(parted, BAYES)) == without_times(expected)
    assert calls(parted / "out") == calls(whole / "out")


def test_trials_that_fail(tmp_path: Path) -> None:
    """A loss that is no number fails its trial with the reason; the others go on."""
    progress = SilentProgress()
    text = "{method: grid, folds: 2, space: {rate: [0.01, 1.0]}}"
    report = searched(tmp_path, text, progress=progress)
    assert [trial.state for trial in report.trials] == ["finished", "failed"]
    assert report.trials[1].reason == "the loss was no number any more at step 1"
    assert any("failed (rate 1): the loss was no number" in note for note in progress.notes)
    searched(tmp_path, text)
    assert len(calls(tmp_path / "out")) == 3  # what failed is not tried again


def test_all_trials_fail(tmp_path: Path) -> None:
    """The error says why, each reason once."""
    text = "{method: grid, folds: 2, space: {rate: [0.01, 0.02, 1.0]}}"
    with pytest.raises(RunFailedError, match="none of 3 trials came to a model") as error:
        searched(tmp_path, text, broken=True)
    assert str(error.value).count("does not fit the model") == 1
    assert str(error.value).count("the loss was no number") == 1


def test_hopeless_trials_are_given_up(tmp_path: Path) -> None:
    """After five trials, one that is worse than half of them over two folds gets no third."""
    rates = [0.01 * 1.1**i for i in range(12)]
    text = json.dumps({"method": "grid", "folds": 3, "space": {"rate": rates}})
    report = searched(tmp_path, text)
    pruned = [trial for trial in report.trials if trial.state == "pruned"]
    assert pruned
    assert all(trial.number > 5 and len(trial.losses) == 2 for trial in pruned)
    assert report.chosen.settings["rate"] == 0.01
    assert len(calls(tmp_path / "out")) == 36 - len(pruned)


def test_settings_that_come_again(tmp_path: Path) -> None:
    """Of two widths, ten trials train two; the others repeat them and cost nothing."""
    text = "{trials: 10, folds: 2, space: {width: [2, 4]}}"
    report = searched(tmp_path, text)
    assert len(calls(tmp_path / "out")) == 4
    assert (len(report.trials), report.repeated) == (2, 8)


def test_a_folder_of_another_search(tmp_path: Path) -> None:
    """The error says what differs, and nothing there is touched."""
    searched(tmp_path, RATES)
    with pytest.raises(RunMismatchError, match="holds a search with other seed, space; give"):
        searched(tmp_path, "{method: grid, folds: 2, seed: 1, space: {rate: [0.02]}}")
    with pytest.raises(RunMismatchError, match="holds a search with other settings"):
        searched(tmp_path, RATES, width=5)


def test_more_trials_after_the_model(tmp_path: Path) -> None:
    """Once the model is trained, more trials might choose otherwise: refused, with the way out."""
    report = searched(tmp_path, RATES, trials=2)
    data = TrainingData(tmp_path / "train.jsonl", tmp_path / "valid.jsonl")
    ctx = TrainingContext(tmp_path / "out", SilentProgress())
    asyncio.run(fine_tune(with_values(Measuring(), report.chosen.settings), data, ctx))
    assert searched(tmp_path, RATES, trials=2) == report
    with pytest.raises(UsageError, match=r"copy .*search into another --out"):
        searched(tmp_path, RATES)


def test_a_folder_with_a_training(tmp_path: Path) -> None:
    """A training that no search began is left alone."""
    data = TrainingData(rows(tmp_path, 20), rows(tmp_path, 4, "valid.jsonl"))
    ctx = TrainingContext(tmp_path / "out", SilentProgress())
    asyncio.run(fine_tune(Measuring(), data, ctx))
    with pytest.raises(UsageError, match="holds a training; give the search another --out"):
        searched(tmp_path, RATES)


def test_without_validation_rows_the_last_step_counts(tmp_path: Path) -> None:
    """The training that follows makes all its steps: the loss after the last is half a nat more."""
    trainer = Measuring()
    (tmp_path / "search.yaml").write_text(RATES)
    settings, axes = read_search(str(tmp_path / "search.yaml"), trainer)
    ctx = TrainingContext(tmp_path / "out", SilentProgress())
    data = TrainingData(rows(tmp_path, 20))
    report = asyncio.run(search(trainer, data, ctx, settings, axes))
    assert report.chosen.losses == pytest.approx((1.64, 1.74))
    assert "after the last step" in report.words[0]


def test_without_optuna(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The error has the pip line, and nothing was trained."""
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'clear-pipeline\[train\]'"):
        searched(tmp_path, RATES)
    assert not (tmp_path / "out").exists()


def test_importance() -> None:
    """Losses that hang on one of two settings; nothing is said where none differs, or of few."""
    axes = (Axis("rate", (1, 2, 3)), Axis("width", (1, 2)))
    trials = [
        Trial(
            number=n,
            settings={"rate": n % 3 + 1, "width": n % 2 + 1},
            state="finished",
            losses=(float(n % 3),),
        )
        for n in range(12)
    ]
    found = importance(axes, trials)
    assert next(iter(found)) == "rate"
    assert found["rate"] > 0.9
    assert sum(found.values()) == pytest.approx(1)
    assert importance(axes, trials[:9]) == {}
    assert importance(axes[:1], trials) == {}
    equal = [trial.model_copy(update={"losses": (1.0,)}) for trial in trials]
    assert importance(axes, equal) == {}
