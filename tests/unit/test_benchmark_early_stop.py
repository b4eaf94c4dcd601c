"""The benchmark that draws a training which stops early: its rows and its figures."""

from __future__ import annotations

import pytest

from benchmarks import early_stop
from clear_pipeline.finetune import Point, Trained
from clear_pipeline.llm.settings import ModelSettings


def test_rows_are_each_there_once() -> None:
    """400 sentences, of which about three in ten have the wrong answer: within 4 sd of 120."""
    made = [row["messages"] for row in early_stop.rows(seed=0)]
    assert len({str(turns) for turns in made}) == 400
    wrong = sum(
        (turns[2]["content"] == "positive")
        != any(word in turns[1]["content"] for word in early_stop.PRAISE)
        for turns in made
    )
    assert wrong == pytest.approx(120, abs=37)


def test_figures() -> None:
    """Training losses are means over the eight steps of an epoch; how it ended is told."""
    points = [Point(step=0, valid_loss=2.0)]
    points += [Point(step=n, train_loss=float(n)) for n in range(1, 8)]
    points.append(Point(step=8, train_loss=8.0, valid_loss=1.5))
    summary: dict[str, str | int | float | None] = {
        "steps": 8, "ended": "no better validation loss for a while", "weights of step": 8,
    }  # fmt: skip
    model = ModelSettings(model="m", base_url="http://127.0.0.1:1/v1")
    told = early_stop.told(Trained(model=model, curve=tuple(points), summary=summary))
    assert "| 0 | 2.0000 | - |\n| 8 | 1.5000 | 4.5000 |" in told
    assert "It ended after 8 of 240 steps: no better validation loss for a while." in told
