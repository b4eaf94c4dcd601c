"""From the answers of all arms to means, paired differences and their intervals.

Every metric is taken twice: a row without an answer as wrong (0), and answered rows alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from clear_pipeline.evaluate.bootstrap import mean_difference, mean_estimate
from clear_pipeline.evaluate.models.judge import Mark
from clear_pipeline.evaluate.models.metrics import LABELS, Values, measure, missing
from clear_pipeline.evaluate.models.predict import Prediction
from clear_pipeline.evaluate.models.report import Difference, Figure, GroupReport
from clear_pipeline.evaluate.statistics import F64
from clear_pipeline.schema import Example


@dataclass(frozen=True, slots=True)
class Answers:
    """What came of an arm. All are one per test row, in order.

    Attributes:
        predictions: The answers.
        measured: Their metrics but the judge's; None of a row without an answer.
        if_missing: What these are where such a row counts as wrong.
        marks: The judge's; None without a judge.
    """

    predictions: Sequence[Prediction]
    measured: Sequence[Values | None]
    if_missing: Sequence[Values]
    marks: Sequence[Mark] | None = None

    @classmethod
    def of(cls, rows: Sequence[Example], predictions: Sequence[Prediction]) -> Answers:
        """Measure the answers to these rows."""
        pairs = list(zip(rows, predictions, strict=True))
        measured = [None if made.text is None else measure(row, made.text) for row, made in pairs]
        if_missing = [missing(row) if found is None else found
                      for (row, _), found in zip(pairs, measured, strict=True)]  # fmt: skip
        return cls(predictions, measured, if_missing)

    def values(self, *, with_missing: bool) -> list[Values]:
        """All metrics of each row.

        Args:
            with_missing: Whether a row without an answer counts 0, or not at all. An answer that
                the judge gave no mark for has none in either case: that is not the arm's fault.
                Nor has a row whose rival is missing: it compares nothing.
        """
        nothing: Values = dict.fromkeys(LABELS)
        found = []
        for number, made in enumerate(self.measured):
            values = {**nothing, **(self.if_missing[number] if with_missing else made or {})}
            if self.marks is not None:
                mark = self.marks[number]
                lost = with_missing and made is None and mark.has_rival
                values["judge"] = 0.0 if lost else mark.value
            found.append(values)
        return found

    @property
    def answered(self) -> int:
        """Rows with an answer."""
        return sum(found is not None for found in self.measured)

    def unanswered(self) -> dict[str, int]:
        """Rows without an answer by kind of error, the most frequent first."""
        return dict(Counter(p.reason for p in self.predictions if p.reason).most_common())

    def unjudged(self) -> dict[str, int]:
        """Answers without a mark by kind of error, the most frequent first."""
        errors = [mark.error.partition(":")[0] for mark in self.marks or () if mark.error]
        return dict(Counter(errors).most_common())


class Matrices:
    """The values of one group, by metric: seeds by rows, NaN where there is none.

    Args:
        arms: Of the group.
    """

    def __init__(self, arms: Iterable[Answers]) -> None:
        arms = list(arms)
        self.wrong_if_missing = _by_metric([arm.values(with_missing=True) for arm in arms])
        self.answered = _by_metric([arm.values(with_missing=False) for arm in arms])

    def figures(self, *, resamples: int, seed: int) -> tuple[Figure, ...]:
        """The mean of every metric that says something about any row."""
        mean = partial(mean_estimate, resamples=resamples, seed=seed)
        return tuple(
            Figure(
                metric=metric,
                rows=_count(every),
                value=mean(every),
                answered_rows=_count(self.answered[metric]),
                answered=mean(self.answered[metric]),
            )
            for metric, every in self.wrong_if_missing.items()
            if np.isfinite(every).any()
        )

    def minus(self, other: Matrices, *, resamples: int, seed: int) -> tuple[Figure, ...]:
        """The paired difference of every metric that says something about any row."""
        difference = partial(mean_difference, resamples=resamples, seed=seed)
        found = []
        for metric, every in self.wrong_if_missing.items():
            rows, value = difference(every, other.wrong_if_missing[metric])
            both, answered = difference(self.answered[metric], other.answered[metric])
            if value is not None:
                found.append(
                    Figure(
                        metric=metric,
                        rows=rows,
                        value=value,
                        answered_rows=both,
                        answered=answered,
                    )
                )
        return tuple(found)


@dataclass(frozen=True, slots=True)
class Comparison:
    """The figures of each arm by its name, of each group, and of each beside the baseline."""

    arms: Mapping[str, tuple[Figure, ...]]
    groups: tuple[GroupReport, ...]
    differences: tuple[Difference, ...]


def compare(
    groups: Mapping[str, Mapping[str, Answers]], *, baseline: str, resamples: int, seed: int
) -> Comparison:
    """Compare groups of arms on the same test rows.

    Args:
        groups: By group its arms, by name.
        baseline: One of the groups.
        resamples: Of the bootstrap.
        seed: Of the bootstrap.
    """
    matrices = {name: Matrices(arms.values()) for name, arms in groups.items()}
    base = matrices[baseline]
    return Comparison(
        arms={
            arm: Matrices([answers]).figures(resamples=resamples, seed=seed)
            for arms in groups.values()
            for arm, answers in arms.items()
        },
        groups=tuple(
            GroupReport(
                name=name,
                arms=tuple(groups[name]),
                figures=of.figures(resamples=resamples, seed=seed),
            )
            for name, of in matrices.items()
        ),
        differences=tuple(
            Difference(group=name, figures=of.minus(base, resamples=resamples, seed=seed))
            for name, of in matrices.items()
            if name != baseline
        ),
    )


def _by_metric(arms: Sequence[Sequence[Values]]) -> dict[str, F64]:
    return {
        metric: np.array([list(_numbers(rows, metric)) for rows in arms], np.float64)
        for metric in LABELS
    }


def _numbers(rows: Sequence[Values], metric: str) -> Iterator[float]:
    for values in rows:
        value = values[metric]
        yield np.nan if value is None else value


def _count(matrix: F64) -> int:
    """Rows with a value from any seed."""
    return int(np.isfinite(matrix).any(axis=0).sum())
