"""What rows took, in the ledger and as `explain` tells it, against what the run's meter says."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console, RenderableType

from clear_pipeline.config import build_config
from clear_pipeline.errors import RunFailedError
from clear_pipeline.pipeline import Pipeline
from clear_pipeline.report import views
from clear_pipeline.report.explain import explanation, explanation_json
from clear_pipeline.run import Run, open_run
from stub_server import StubServer, status

ROWS = 6
MODELS = {
    "scorer": ("stub", {"input": 1, "output": 2}),
    "candidate": ("writer", {"input": 3, "output": 4}),
    "judge": ("judge", {"input": 5, "output": 6}),
}
"""Model and dollars per million tokens by role."""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Rows of one sentence, so that each is asked one question."""
    path = tmp_path / "rows.jsonl"
    rows = [{"prompt": f"What is {n} + 1?", "response": str(n + 1)} for n in range(ROWS)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def run(data: Path, tmp_path: Path) -> Run:
    """Every row scored, written anew and judged, by a model for each."""
    return run_of(data, tmp_path / "run")


def run_of(data: Path, out: Path) -> Run:
    with StubServer() as server:
        models = {
            role: {"model": model, "base_url": server.url, "price_per_mtok": price}
            for role, (model, price) in MODELS.items()
        }
        config = build_config(
            flags={"models": models},
            stages=["score", "filter", "rectify"],
            assignments=[
                "score.reflection=[yes_no]",
                "filter.keep={confidence: 0.0}",
                "stages.rectify.scope=all",
            ],
        )
        return Pipeline(config).run(data, out=out)


def printed(view: RenderableType) -> str:
    console = Console(width=120)
    with console.capture() as shown:
        console.print(view)
    return shown.get()


def sums(run: Run, column: str) -> dict[str, int]:
    used: list[dict[str, int]] = run.ledger([column])[column].to_pylist()
    return {name: sum(row[name] for row in used) for name in used[0]}


def test_the_rows_took_what_the_meter_counted(run: Run) -> None:
    """10 and 2 tokens a call: one to score, one to write, four to judge, for each of six rows."""
    metered = run.usage()
    columns = {"stub": "reflection_usage", "writer": "candidate_usage", "judge": "judge_usage"}
    for model, column in columns.items():
        used, total = sums(run, column), metered[model]
        calls = {"stub": 6, "writer": 6, "judge": 24}[model]
        assert used == {"calls": calls, "prompt": 10 * calls, "cached": 0, "completion": 2 * calls}
        assert total.requests == calls
        assert (total.usage.prompt, total.usage.completion) == (10 * calls, 2 * calls)


def test_rows_of_one_question_share_an_answer_and_each_counts_it(tmp_path: Path) -> None:
    """Six responses to one prompt: 6 x 10 and 6 x 2 tokens in the ledger, 10 and 2 were paid."""
    data = tmp_path / "one.jsonl"
    rows = [{"prompt": "What is 1 + 1?", "response": f"It is {n}."} for n in range(ROWS)]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    run = run_of(data, tmp_path / "run")
    written = run.usage()["writer"]
    assert sums(run, "candidate_usage") == {
        "calls": 6,
        "prompt": 60,
        "cached": 0,
        "completion": 12,
    }
    assert (written.requests, written.cached_samples) == (1, 5)
    assert (written.usage.prompt, written.usage.completion) == (10, 2)


def test_explain_tells_each_call_at_the_price_of_its_model(run: Run) -> None:
    """10 x 1 + 2 x 2, 10 x 3 + 2 x 4 and 40 x 5 + 8 x 6 millionths: together what was paid."""
    told: list[list[dict[str, Any]]] = [
        explanation_json(run, f"rows.jsonl:{line}")["calls"] for line in range(1, ROWS + 1)
    ]
    assert [(step["step"], step["calls"]) for step in told[0]] == [
        ("reflection", 1),
        ("candidate", 1),
        ("verdicts", 4),
    ]
    assert [1e6 * step["usd"] for step in told[0]] == pytest.approx([14, 38, 248])
    paid = sum(total.usd or 0.0 for total in run.usage().values())
    assert paid == pytest.approx(6 * 300e-6)
    assert sum(step["usd"] for steps in told for step in steps) == pytest.approx(paid)


def test_explain_sums_up_what_a_row_took(run: Run) -> None:
    """Six calls of 10 and 2 tokens at 14 + 38 + 248 millionths of a dollar."""
    shown = printed(explanation(run, "rows.jsonl:1"))
    assert re.search(r"all +│ +6 │ +60 │ +0 │ +12 │ +\$0\.000300 │", shown)


def test_a_free_server_that_failed_every_call_has_cost_nothing(data: Path, tmp_path: Path) -> None:
    """Its price is known, whether a request was answered or not."""
    with StubServer(status(500)) as server:
        scorer = {"model": "stub", "base_url": server.url, "max_attempts": 1, "backoff_s": 0.001}
        config = build_config(flags={"models": {"scorer": scorer}}, stages=["score"])
        with pytest.raises(RunFailedError):
            Pipeline(config).run(data, out=tmp_path / "run")
    run = open_run(tmp_path / "run")
    assert run.usage()["stub"].usd == 0.0
    shown = printed(views.status(run))
    assert "$0.0000" in shown
    assert "price not known" not in shown
    assert run.spend().endswith("$0.0000")
