"""What a round brought: its model and those before it, on the same held-out rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from clear_pipeline.evaluate.models import (
    Arm,
    EvaluationReport,
    EvaluationSettings,
    ModelEvaluation,
)
from clear_pipeline.evaluate.models.report import Figure, LeakReport
from clear_pipeline.llm.open import model_identity
from clear_pipeline.llm.settings import ModelSettings
from clear_pipeline.load import LoadSettings
from clear_pipeline.loop.settings import LoopConfig
from clear_pipeline.model_pool import Shared
from clear_pipeline.stages.base import Progress

BASE: Final = "base"
TUNED: Final = "tuned"


def arm_of(number: int) -> str:
    """The name of a round's model."""
    return f"round-{number}"


@dataclass(frozen=True, slots=True)
class Lineup:
    """Who is measured.

    Attributes:
        models: By name; two names of one model are asked once.
        newest: Name of the model of this round.
        before: Name of that of the round before.
    """

    models: Mapping[str, ModelSettings]
    newest: str
    before: str


@dataclass(frozen=True, slots=True)
class Measured:
    """Figures of models on the test rows.

    Attributes:
        rows: Test rows.
        figures: By name of the model.
        gains: Of the newest model over the one that it is compared with; empty where it is that.
        leaks: Test rows in what the newest was trained on.
    """

    rows: int
    figures: Mapping[str, tuple[Figure, ...]]
    gains: tuple[Figure, ...]
    leaks: tuple[LeakReport, ...]


def measure(
    plan: LoopConfig,
    lineup: Lineup,
    *,
    test: Path,
    train: Path,
    out: Path,
    shared: Shared,
    progress: Progress,
) -> Measured:
    """Ask models the test rows, and compare the newest with the one of the round before.

    Args:
        plan: Of the loop.
        lineup: The models.
        test: The test rows.
        train: What the newest was trained on; test rows in it are told.
        out: Directory of the evaluation.
        shared: Answers and caps of the loop.
        progress: Where it reports.

    Raises:
        RunFailedError: A server is gone; the same call goes on.
        BudgetExceededError: A cap was reached; the same call with a higher one goes on.
    """
    models, first = lineup.models, dict[str, str]()
    same = {name: first.setdefault(model_identity(m), name) for name, m in models.items()}
    settings = EvaluationSettings(
        arms=tuple(Arm(name=name, model=models[name]) for name in first.values()),
        baseline=same[lineup.before],
        max_answer_tokens=plan.settings.max_answer_tokens,
        seed=plan.settings.seed,
        load=test_load(plan),
        budget=plan.config.budget,
    )
    evaluation = ModelEvaluation(settings, progress=progress, shared=shared)
    asked = evaluation.plan(test, train=[train])
    for remark in asked.remarks():
        progress.note(remark)
    report = evaluation.run(asked, out=out)
    figures = {group.name: group.figures for group in report.groups}
    return Measured(
        rows=report.rows,
        figures={name: figures[arm] for name, arm in same.items()},
        gains=_gains(report, same[lineup.newest]),
        leaks=report.leaks,
    )


def test_load(plan: LoopConfig) -> LoadSettings:
    """Test rows of the user's are laid out as DATA is; the loop's own are chat rows."""
    load = plan.config.load
    return load.of_own_rows() if plan.test is None else load.model_copy(update={"limit": None})


def _gains(report: EvaluationReport, arm: str) -> tuple[Figure, ...]:
    found = (difference.figures for difference in report.differences if difference.group == arm)
    return next(found, ())
