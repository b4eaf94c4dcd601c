"""Evaluations of arms that answer four sums by scripts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clear_pipeline.errors import CallError
from clear_pipeline.evaluate.models import EvaluationReport, ModelEvaluation, read_settings
from clear_pipeline.evaluate.models.report import Figure, figure_of
from clear_pipeline.evaluate.statistics import Estimate
from clear_pipeline.llm.base import ChatRequest
from clear_pipeline.llm.scripted import Reply, Script, ScriptedChat

ANSWERS = {"1 + 1?": "2", "2 + 2?": "4", "3 + 3?": "6", "4 + 4?": "8"}


def answers_file(folder: Path) -> Path:
    """The test set."""
    path = folder / "test.jsonl"
    lines = [json.dumps({"prompt": asked, "completion": said}) for asked, said in ANSWERS.items()]
    path.write_text("\n".join(lines) + "\n")
    return path


def says(**wrong: Reply) -> Script:
    """The right answers, but for those of the rows n1 ... n4; an error is raised."""

    def script(request: ChatRequest, _: int) -> Reply:
        asked = request.messages[-1].text
        reply = wrong.get(f"n{asked[0]}", ANSWERS[asked])
        if reply == "timeout":
            raise CallError("timeout", "too slow", transient=True)
        return reply

    return script


def evaluated(
    file: Path,
    scripts: Mapping[str, Script | ScriptedChat],
    **settings: Any,  # noqa: ANN401
) -> EvaluationReport:
    """Evaluate arms by their scripts; `judge` among them judges."""
    models = {
        name: of if isinstance(of, ScriptedChat) else ScriptedChat(of, name=name)
        for name, of in scripts.items()
    }
    arms = [{"name": n, "model": {"model": n}} for n in scripts if n != "judge"]
    made = read_settings(None, arms=arms, **settings)
    evaluation = ModelEvaluation(made, models=models)
    return evaluation.run(evaluation.plan(file), out=file.parent / "out")


def figure(figures: tuple[Figure, ...], metric: str = "exact_match") -> Figure:
    found = figure_of(figures, metric)
    assert found is not None
    return found


def value(estimate: Estimate | None) -> float:
    assert estimate is not None
    return estimate.value
