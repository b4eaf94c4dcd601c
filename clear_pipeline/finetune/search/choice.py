"""Which trial is chosen, how far the others are from it, and why, in words."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from statistics import fmean, stdev
from typing import Final

from clear_pipeline.finetune.search.report import Difference, SearchReport, Trial, shown
from clear_pipeline.finetune.search.space import Axis

_LEVEL: Final = 0.975
"""Quantile of an interval of 95 %."""
_LATE: Final = 0.05
"""Share of the steps before the end from which the lowest loss counts as one of the end."""


def difference(trial: Trial, chosen: Trial) -> Difference:
    """By how much the loss of a trial is above, over the folds that both were measured on.

    The interval is Student's, with the variance of the mean corrected for training rows that folds
    share: 1/k + 1/(k - 1) in place of 1/k, for k folds (Nadeau & Bengio 2003, "Inference for the
    generalization error"). It holds for two trials that were fixed beforehand; the best of many is
    lower by luck, which makes it a little too low.
    """
    pairs = list(zip(trial.losses, chosen.losses, strict=False))
    apart = [one - other for one, other in pairs]
    if len(apart) == 1:
        return Difference(mean=apart[0], low=None, high=None)
    from scipy.stats import t  # a second to import

    folds = len(apart)
    error = stdev(apart) * math.sqrt(1 / folds + 1 / (folds - 1))
    reach = float(t.ppf(_LEVEL, folds - 1)) * error
    return Difference(mean=fmean(apart), low=fmean(apart) - reach, high=fmean(apart) + reach)


def explained(report: SearchReport, axes: Sequence[Axis]) -> tuple[str, ...]:
    """The choice in sentences."""
    return tuple(_sentences(report, axes))


def _sentences(report: SearchReport, axes: Sequence[Axis]) -> Iterator[str]:
    best = report.chosen
    yield f"Chosen: trial {best.number}, {shown(best.settings)}. {_loss(report)}."
    finished = [trial for trial in report.trials if trial.state == "finished"]
    if len(finished) > 1:
        second = finished[1]
        yield (
            f"Next to it: trial {second.number}, {shown(second.settings)}; "
            f"{_apart(report, second)}."
        )
    if len(finished) > 2 and report.folds > 1:  # noqa: PLR2004  # others than these two
        peers = sum(report.beside_best[trial.number].is_noise is True for trial in finished[1:])
        yield f"Of {len(finished) - 1} other finished trials {peers} cannot be told from it."
    yield _given(report)
    if report.importance:
        shares = [f"{name} {share:.0%}" for name, share in report.importance.items()]
        yield f"What the losses depend on, by functional ANOVA: {', '.join(shares)}."
    yield from _edges(report, axes)
    yield from _overfitting(report)
    if report.folds == 1:
        yield "Each trial was measured on one set of rows: a small difference may be theirs alone."
    yield (
        f"The lowest of {len(report.trials)} losses is in part luck: what the model is worth, rows "
        "tell that no trial has seen."
    )


def _loss(report: SearchReport) -> str:
    best = report.chosen
    counted = "lowest of each training" if report.early_stop else "after the last step"
    if report.folds == 1:
        return f"Validation loss {best.loss:.4f}, the {counted}"
    low, high = min(best.losses), max(best.losses)
    return (
        f"Validation loss {best.loss:.4f}, {counted}, mean of {report.folds} folds from {low:.4f} "
        f"to {high:.4f}"
    )


def _apart(report: SearchReport, trial: Trial) -> str:
    apart = report.beside_best[trial.number]
    if apart.low is None or apart.high is None:
        return f"its loss is {apart.mean:.4f} higher"
    said = "no more than folds differ by chance" if apart.is_noise else "more than chance"
    return f"its loss is {apart.mean:.4f} [{apart.low:+.4f}, {apart.high:+.4f}] higher, {said}"


def _given(report: SearchReport) -> str:
    given = shown(report.given)
    if report.given_trial is None:
        return f"The settings as given ({given}) are none of the trials: nothing is said of them."
    if report.given_trial == report.chosen.number:
        return f"These are the settings as given ({given}): no trial did better."
    trial = report.trial(report.given_trial)
    place = f"The settings as given ({given}) are trial {trial.number}"
    if trial.state == "failed":
        return f"{place}, which failed."
    said = f"{place}; {_apart(report, trial)}"
    if report.beside_best[trial.number].is_noise:
        return f"{said}: the search found nothing that is surely better."
    return f"{said}."


def _edges(report: SearchReport, axes: Sequence[Axis]) -> Iterator[str]:
    values = report.chosen.settings
    names = [axis.name for axis in axes if axis.at_edge(values[axis.name])]
    if names:
        lies = "lies" if len(names) == 1 else "lie"
        yield f"{' and '.join(names)} {lies} at the edge of the space: there may be better beyond."


def _overfitting(report: SearchReport) -> Iterator[str]:
    best = report.chosen
    if best.best_at is None or best.rise is None:
        return
    if best.best_at >= 1 - _LATE:
        yield "Its validation loss was lowest at the end: it does not overfit yet."
        return
    yield (
        f"Its validation loss was lowest after {best.best_at:.0%} of the steps that it made, and "
        f"{best.rise:.4f} higher at the last: from there on it overfits"
        + (", and its lowest step is kept." if report.early_stop else ".")
    )
