"""Notebook views: what another threshold would do, from a finished run alone."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from clear_pipeline.errors import NoSurvivorsError, UsageError
from clear_pipeline.report.notebook import (
    ThresholdPreview,
    funnel,
    histogram,
    margin,
    move_threshold,
    to_read,
)
from clear_pipeline.run import Run
from clear_pipeline.schema import Fate
from report_runs import demo_run, run_with

FIVE = {"alpha": 0.1, "bravo": 0.3, "charlie": 0.5, "delta": 0.7, "echo": 0.9}
"""The median keeps three of them, threshold 0.5."""


def count(preview: ThresholdPreview, column: str, fate: str) -> int:
    return int(preview.counts.to_dict()[column][fate])


@pytest.fixture(scope="module")
def five(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return run_with(tmp_path_factory.mktemp("five"), FIVE)[0]


@pytest.fixture(scope="module")
def rectified(tmp_path_factory: pytest.TempPathFactory) -> Run:
    out = tmp_path_factory.mktemp("rectified") / "run"
    return demo_run(out, stages=["dedup", "score", "filter", "rectify"])


def test_lower_threshold_keeps_more(five: Run) -> None:
    """Dropping one fifth keeps four of five rows: 0.3 comes in, with its texts."""
    preview = move_threshold(five, keep={"quantile": 0.2})
    assert preview.threshold == pytest.approx(0.3)
    assert preview.changed.drop(columns="confidence").to_dict("records") == [
        {
            "id": "rows.jsonl:2",
            "now": "filtered",
            "then": "kept",
            "prompt": "Question 1",
            "response": "bravo",
        }
    ]
    assert preview.counts.loc["kept"].to_dict() == {"now": 3, "then": 4, "change": 1}
    assert preview.counts.loc["filtered"].to_dict() == {"now": 2, "then": 1, "change": -1}


def test_higher_threshold_drops_the_nearest_first(five: Run) -> None:
    """Above 0.8 one row stays; of the two that go, 0.7 is nearer to the threshold."""
    preview = move_threshold(five, keep={"confidence": 0.8})
    assert preview.threshold == 0.8
    assert list(preview.changed["response"]) == ["delta", "charlie"]
    assert set(preview.changed["then"]) == {"filtered"}


def test_own_threshold_changes_nothing(five: Run) -> None:
    """The preview of the run's own filter is the run."""
    preview = move_threshold(five, keep={"above": "median"})
    assert preview.threshold == pytest.approx(0.5)
    assert preview.changed.empty
    assert not preview.counts["change"].any()


def test_listed_rows_are_limited_and_counts_are_not(five: Run) -> None:
    """Of many changed rows the nearest are listed; the counts stay true."""
    preview = move_threshold(five, keep={"count": 1}, rows=1)
    assert list(preview.changed["response"]) == ["delta"]
    assert count(preview, "change", "kept") == -2


def test_preview_is_what_a_rerun_does(tmp_path: Path) -> None:
    """Ties included: the filter run with that `keep` gives the fates of the preview, no call."""
    tied = {"alpha": 0.5, "bravo": 0.5, "charlie": 0.5, "delta": 0.5, "echo": 0.2, "golf": 0.8}
    run, model = run_with(tmp_path, tied)
    calls = len(model.requests)
    now = dict(zip(*(run.ledger()[name].to_pylist() for name in ("id", "fate")), strict=True))
    preview = move_threshold(run, keep={"quantile": 0.3})
    assert len(model.requests) == calls

    rerun, again = run_with(tmp_path, tied, keep="quantile=0.3")
    assert not again.requests
    ledger = rerun.ledger()
    fates = dict(zip(ledger["id"].to_pylist(), ledger["fate"].to_pylist(), strict=True))
    moved = dict(zip(preview.changed["id"], preview.changed["then"], strict=True))
    assert len(moved) == 2
    assert {**now, **moved} == fates
    assert preview.counts["then"].to_dict() == {fate: rerun.manifest.fates[fate] for fate in Fate}
    assert preview.threshold == ledger["threshold"][0].as_py()


def test_rectified_rows_stay_rectified(rectified: Run) -> None:
    """They take part in the ranking, but no threshold changes their fate."""
    for keep in ({"confidence": 0.0}, {"count": 1}):
        preview = move_threshold(rectified, keep=keep)
        assert count(preview, "now", "rectified") == count(preview, "then", "rectified") > 0
        assert preview.counts["then"].sum() == preview.counts["now"].sum()


def test_rows_that_rectify_has_not_seen_are_counted(rectified: Run, five: Run) -> None:
    """Rows that were kept got no candidate; dropped, each would be asked for one."""
    preview = move_threshold(rectified, keep={"count": 1})
    assert preview.new_candidates == -count(preview, "change", "kept") > 0
    assert move_threshold(rectified, keep={"confidence": 0.0}).new_candidates == 0
    assert move_threshold(five, keep={"count": 1}).new_candidates == 0


def test_margin_lists_the_nearest_in_order(five: Run) -> None:
    """Around 0.5 the three nearest of five, from the least confident up, with both texts."""
    frame = margin(five, rows=3)
    assert list(frame["response"]) == ["bravo", "charlie", "delta"]
    assert list(frame["prompt"]) == ["Question 1", "Question 2", "Question 3"]
    assert list(frame["fate"]) == ["filtered", "kept", "kept"]
    assert list(margin(five, 0.95, rows=1)["response"]) == ["echo"]


def test_histogram_draws_the_fates_and_the_threshold(five: Run) -> None:
    """One bar trace per fate that sums to its rows; the line stands at the run's threshold."""
    figure = histogram(five)
    rows = {trace.name: sum(trace.y) for trace in figure.data}
    assert rows == {"kept": 3, "filtered": 2}
    assert [line.x0 for line in figure.layout.shapes] == [pytest.approx(0.5)]
    assert [line.x0 for line in histogram(five, threshold=0.0).layout.shapes] == [0.0]
    assert not histogram(five, "reflection").layout.shapes


def test_funnel_ends_with_the_training_set(rectified: Run) -> None:
    """Steps from the input to what is trained on, its last bar by fate."""
    figure = funnel(rectified)
    steps = figure.data[0]
    total = sum(rectified.manifest.fates.values())
    assert steps.x[0] == total
    assert list(steps.y) == ["Input rows", "Readable", "Unique"]
    last = {trace.name: trace.x[0] for trace in figure.data if trace.y == ("In the training set",)}
    assert last == {
        fate: rectified.manifest.fates[fate] for fate in ("kept", "rectified", "filtered")
    }


@pytest.mark.parametrize("keep", [{"quantil": 0.3}, {"quantile": 1.5}, {}, {"above": "mean"}])
def test_unknown_keep_is_a_usage_error(five: Run, keep: dict[str, object]) -> None:
    """The message shows what was given and what is possible."""
    with pytest.raises(UsageError, match=r"expected one of \{above: median\}"):
        move_threshold(five, keep=keep)


def test_no_survivor_is_an_error(five: Run) -> None:
    """A threshold above every row says how high the best one is."""
    with pytest.raises(NoSurvivorsError, match=r"highest confidence is 0\.900"):
        move_threshold(five, keep={"confidence": 0.95})


def test_run_without_scores_is_a_usage_error(tmp_path: Path) -> None:
    """A run that only dropped duplicates has no threshold to move and nothing to plot."""
    run = demo_run(tmp_path / "run", stages=["dedup"])
    for view in (histogram, margin, lambda run: move_threshold(run, keep={"count": 1})):
        with pytest.raises(UsageError, match="run it with the score stage"):
            view(run)


def test_rows_to_read_are_escaped() -> None:
    """Markup of a row is shown as text, and what hides is made visible."""
    row = {"id": "<b>", "prompt": "<script>alert(1)</script>", "response": "a\u202eb"}
    shown = to_read(pd.DataFrame([row]))
    assert "<script" not in shown
    assert "&lt;script&gt;" in shown
    assert "\\u202e" in shown
