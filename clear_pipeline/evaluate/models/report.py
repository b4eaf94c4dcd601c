"""`evaluation.json`: everything that an evaluation of models found, versioned."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict

from clear_pipeline.evaluate.statistics import Estimate

REPORT: Final = "evaluation.json"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Figure(_Part):
    """One metric of an arm, of a group, or of the difference of two groups."""

    metric: str
    """One of `metrics.LABELS`."""
    rows: int
    """Rows that the metric says something about."""
    value: Estimate | None
    """Mean over these rows, each without an answer counting 0."""
    answered_rows: int
    """Rows with an answer among them; of a difference: from every arm of both groups."""
    answered: Estimate | None
    """Mean over those alone."""


def figure_of(figures: Iterable[Figure], metric: str) -> Figure | None:
    """That of one metric, if it is among them."""
    return next((figure for figure in figures if figure.metric == metric), None)


class ArmReport(_Part):
    """One arm."""

    name: str
    group: str
    model: str
    endpoint: str
    identity: str
    """What tells the model apart in the cache."""
    few_shot: int
    shots: tuple[str, ...]
    """Ids of the examples before each question."""
    answered: int
    cut: int
    """Answers that end at the token limit; they count as they are."""
    unanswered: dict[str, int]
    """Rows without an answer, by kind of error."""
    unjudged: dict[str, int]
    """Answers that the judge gave no mark for, by kind of error; left out of its mean."""
    figures: tuple[Figure, ...]


class GroupReport(_Part):
    """Arms of one name, over all their seeds."""

    name: str
    arms: tuple[str, ...]
    figures: tuple[Figure, ...]


class Difference(_Part):
    """One group minus the baseline, on the same rows."""

    group: str
    figures: tuple[Figure, ...]


class LeakReport(_Part):
    """Test rows in a training file, see `held_out.Leak`."""

    file: str
    rows: int
    prompts: int


class EvaluationReport(_Part):
    """The whole evaluation."""

    schema_version: Literal[1] = 1
    package_version: str
    dataset: str
    digest: str
    """SHA-256 of what the test rows say."""
    rows: int
    left_out: int
    """Rows of the file that cannot be used, without a reference for one."""
    leaks: tuple[LeakReport, ...]
    temperature: float
    max_answer_tokens: int
    baseline: str
    judge: str | None
    """Model and form."""
    arms: tuple[ArmReport, ...]
    groups: tuple[GroupReport, ...]
    differences: tuple[Difference, ...]
    """Of every group but the baseline."""

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return self.model_dump(mode="json")
