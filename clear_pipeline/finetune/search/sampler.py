"""Where a search looks next: Optuna, asked anew for each trial with the trials so far.

A study lives in memory, is made of the trials on disk, and draws with a seed of the trial's own.
So what comes next depends on the trials alone, not on how often the process was started anew.
"""

from __future__ import annotations

import itertools
import random
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from statistics import fmean
from typing import TYPE_CHECKING

from clear_pipeline.errors import MissingExtraError
from clear_pipeline.finetune.search.report import Trial
from clear_pipeline.finetune.search.settings import SearchSettings
from clear_pipeline.finetune.search.space import Axis, Value

if TYPE_CHECKING:
    import optuna

LEAST_FOR_IMPORTANCE = 10
"""Finished trials, below which nothing is said of which setting matters."""


def require_optuna() -> None:
    """Make sure that it is installed.

    Raises:
        MissingExtraError: It is not.
    """
    try:
        import optuna  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(
            "--search needs optuna: pip install 'clear-pipeline[train]'"
        ) from error


def proposed(
    settings: SearchSettings,
    axes: Sequence[Axis],
    trials: Sequence[Trial],
    given: Mapping[str, Value],
) -> dict[str, Value]:
    """What to try after these trials, in the order of the axes.

    Args:
        settings: Of the search.
        axes: What it varies.
        trials: All so far, by number.
        given: What the trainer has without a search: the first trial of a Bayesian search, where
            the space holds it.
    """
    if settings.method == "grid":
        return grid(axes, settings.seed)[len(trials)]
    if not trials and all(axis.holds(given[axis.name]) for axis in axes):
        return {axis.name: given[axis.name] for axis in axes}
    with _quiet():
        import optuna

        sampler = optuna.samplers.TPESampler(seed=settings.seed + len(trials))
        study = _study(axes, trials, sampler)
        params = study.ask(_distributions(axes)).params
    return {axis.name: params[axis.name] for axis in axes}


def grid(axes: Sequence[Axis], seed: int) -> list[dict[str, Value]]:
    """All combinations, in random order: what is stopped early has seen every region."""
    names = [axis.name for axis in axes]
    found = [
        dict(zip(names, values, strict=True))
        for values in itertools.product(*(axis.values for axis in axes))
    ]
    random.Random(seed).shuffle(found)  # noqa: S311  # no secret
    return found


def importance(axes: Sequence[Axis], trials: Sequence[Trial]) -> dict[str, float]:
    """By setting, its share in how far the losses of trials differ; the largest first.

    Source: functional ANOVA (Hutter, Hoos & Leyton-Brown 2014, "An efficient approach for assessing
    hyperparameter importance"), over the whole space: methods that look at the best tenth of the
    trials alone, as PED-ANOVA, have two of twenty. Empty where less than `LEAST_FOR_IMPORTANCE`
    trials are finished, only one setting is varied, or all losses are equal.
    """
    finished = [trial for trial in trials if trial.state == "finished"]
    if len(finished) < LEAST_FOR_IMPORTANCE or len(axes) == 1:
        return {}
    if len({trial.loss for trial in finished}) == 1:
        return {}
    with _quiet():
        import optuna

        found = optuna.importance.get_param_importances(
            _study(axes, finished, optuna.samplers.RandomSampler(0)),
            evaluator=optuna.importance.FanovaImportanceEvaluator(seed=0),
        )
    return {name: float(share) for name, share in found.items()}


def _study(
    axes: Sequence[Axis], trials: Sequence[Trial], sampler: optuna.samplers.BaseSampler
) -> optuna.Study:
    import optuna

    study = optuna.create_study(direction="minimize", sampler=sampler)
    for trial in trials:
        pruned = trial.state == "pruned"
        state = optuna.trial.TrialState.PRUNED if pruned else optuna.trial.TrialState.COMPLETE
        study.add_trial(
            optuna.trial.create_trial(
                state=state,
                value=None if pruned else trial.loss,  # infinite: what failed is kept away from
                params=trial.settings,
                distributions=_distributions(axes),
                intermediate_values={
                    fold: fmean(trial.losses[: fold + 1]) for fold in range(len(trial.losses))
                },
            )
        )
    return study


def _distributions(axes: Sequence[Axis]) -> dict[str, optuna.distributions.BaseDistribution]:
    from optuna.distributions import (
        BaseDistribution,
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    def of(axis: Axis) -> BaseDistribution:
        if axis.range is None:
            return CategoricalDistribution(axis.values)
        low, high, log = axis.range.low, axis.range.high, axis.range.log
        if axis.whole:
            return IntDistribution(int(low), int(high), log=log)
        return FloatDistribution(low, high, log=log)

    return {axis.name: of(axis) for axis in axes}


@contextmanager
def _quiet() -> Iterator[None]:
    """Optuna without remarks of its own."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        optuna.logging.set_verbosity(before)
