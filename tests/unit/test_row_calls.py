"""The tokens and the price of the calls about one row."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from clear_pipeline.config import build_config
from clear_pipeline.llm.scripted import ScriptedChat
from clear_pipeline.pipeline import Pipeline
from clear_pipeline.report.explain import explanation
from clear_pipeline.report.row_calls import StepCalls, row_calls
from clear_pipeline.run import Run
from scripted_run import reply


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Two rows, by the model that the config names, save a judge that is given in Python.

    They cost 2 dollars per million prompt tokens, 1 where cached, 10 for replies.
    """
    folder = tmp_path_factory.mktemp("calls")
    data = folder / "data.jsonl"
    data.write_text("".join(f'{{"prompt": "{n}?", "completion": "{n}."}}\n' for n in range(2)))
    prices = "{input: 2, cached: 1, output: 10}"
    scorer = f"{{model: scripted, base_url: 'http://scripted', price_per_mtok: {prices}}}"
    config = build_config(
        stages=["score", "filter", "rectify"],
        preset="fast",
        assignments=[f"models.scorer={scorer}", "filter.keep={confidence: 0.0}"],
    )
    configured, other = ScriptedChat(reply), ScriptedChat(reply, name="other")
    models = {"scorer": configured, "candidate": configured, "judge": other}
    return Pipeline(config, models=models).run(data, out=folder / "run")


def test_tokens_of_a_step_have_their_price(run: Run) -> None:
    """600 fresh, 400 cached and 50 new tokens: 1,200 + 400 + 500 millionths of a dollar."""
    used = {"calls": 2, "prompt": 1000, "cached": 400, "completion": 50}
    row = {"reflection_usage": used, "likelihood_usage": None, "cascade_cost": used | {"calls": 3}}
    reflection, cascade = row_calls(run, row)
    assert reflection == StepCalls("reflection", 2, 1000, 400, 50, pytest.approx(0.0021))  # type: ignore[arg-type]
    assert (cascade.step, cascade.calls) == ("cascade", 3)


def test_a_role_without_a_model_has_no_price(run: Run) -> None:
    """The scorer stands in for the writer, but never for the second model."""
    used = {"calls": 1, "prompt": 1000, "cached": 0, "completion": 0}
    second, candidate = row_calls(run, {"candidate_usage": used, "second_usage": used})
    assert (second.step, second.usd) == ("second opinion", None)
    assert candidate.step == "candidate"
    assert candidate.usd == pytest.approx(0.002)


def test_a_model_given_in_python_has_no_price(run: Run) -> None:
    """That of the scorer, which the config names for the judge, is not its own."""
    (judge,) = row_calls(run, {"judge_usage": {"prompt": 9, "cached": 0, "completion": 1}})
    assert (judge.step, judge.usd) == ("verdicts", None)


def test_an_unknown_price_is_no_zero(run: Run) -> None:
    """With a config that cannot be read any more the price is not known."""
    text = (run.path / "config.yaml").read_bytes()
    (run.path / "config.yaml").write_bytes(b"\xff\xfe{")
    used = {"calls": 1, "prompt": 1, "cached": 0, "completion": 1}
    (step,) = row_calls(run, {"reflection_usage": used})
    (run.path / "config.yaml").write_bytes(text)
    assert step.usd is None


def test_explain_shows_the_calls(run: Run) -> None:
    """Step, tokens and price stand at the terminal."""
    shown = io.StringIO()
    Console(file=shown, width=120).print(explanation(run, "data.jsonl:1"))
    assert "calls about this row" in shown.getvalue()
    (step,) = row_calls(run, run.row("data.jsonl:1"))
    assert (step.step, step.calls) == ("reflection", 1)
    assert f"${step.usd:,.6f}" in shown.getvalue()
