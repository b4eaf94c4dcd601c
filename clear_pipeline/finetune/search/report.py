"""`search.json`: the trials of a search, the lowest loss first, and what was chosen."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import fmean
from typing import Literal, TypeAlias

from clear_pipeline.finetune.search.space import Value
from clear_pipeline.settings import Settings

State: TypeAlias = Literal["finished", "pruned", "failed"]


class Trial(Settings):
    """One setting of the searched values, and how its trainings went."""

    number: int
    """From 1, in the order in which they were tried."""
    settings: dict[str, Value]
    state: State
    """`pruned`: given up before its last fold, since it did worse than half of the others."""
    losses: tuple[float, ...] = ()
    """Validation losses in nats per learnt token, one for each fold that was measured on."""
    reason: str = ""
    """Why it failed."""
    best_at: float | None = None
    """After which part of its steps the validation loss was lowest, mean over folds."""
    rise: float | None = None
    """By how much the last loss is above the lowest, mean over folds."""
    seconds: float = 0.0
    """That its trainings took, those of a process that was killed left out."""

    @property
    def loss(self) -> float:
        """Mean over folds; infinite where there is none."""
        return fmean(self.losses) if self.losses and self.state != "failed" else float("inf")


class Difference(Settings):
    """By how much the loss of a trial is above that of another, fold by fold."""

    mean: float
    low: float | None
    """End of the 95 % interval; None from a single fold, which has no spread."""
    high: float | None

    @property
    def is_noise(self) -> bool | None:
        """Whether the interval holds 0; None where nobody can say."""
        if self.low is None or self.high is None:
            return None
        return self.low <= 0 <= self.high


class SearchReport(Settings):
    """What a search came to."""

    method: str
    rows: int
    """Training rows."""
    folds: int
    """Trainings of a trial; 1 = on the training rows, measured on the validation rows."""
    early_stop: bool
    """Whether the lowest loss of a training counts, or that of its last step."""
    trials: tuple[Trial, ...]
    """Those that failed last; settings that were tried twice stand once."""
    repeated: int
    """Trials that came to settings of an earlier one, and took its losses."""
    beside_best: dict[int, Difference]
    """By number of the trial, its distance from the chosen one."""
    given: dict[str, Value]
    """What the trainer has without the search."""
    given_trial: int | None
    """The trial of these; None if the space does not hold them."""
    importance: dict[str, float]
    """By setting, its share in how far losses differ; empty where the trials are too few."""
    words: tuple[str, ...] = ()
    """The choice explained, a sentence a line."""

    @property
    def chosen(self) -> Trial:
        """The trial with the lowest loss."""
        return self.trials[0]

    def trial(self, number: int) -> Trial:
        """One of them, by its number."""
        return next(trial for trial in self.trials if trial.number == number)


def shown(values: Mapping[str, Value]) -> str:
    """Settings in words; numbers are rounded to three digits."""
    return ", ".join(f"{name} {shown_value(value)}" for name, value in values.items())


def shown_value(value: Value) -> str:
    """One of them."""
    if value is None:
        return "null"
    return f"{value:.3g}" if isinstance(value, float) else str(value)
