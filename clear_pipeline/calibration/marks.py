"""Probabilities from marks that people made: P(good), and the share of bad rows in the run.

Marks are few, so the model is small: one score stretched to probabilities (Platt 1999), or a
handful of parts where there are marks enough. Which one, and how strongly it is held back, is
chosen by cross-validation; the figures that are reported come from an outer cross-validation
around that choice, so that no mark judges a fit that knew it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Final

import numpy as np
from numpy.typing import NDArray

from clear_pipeline.calibration.direction import upside_down_among
from clear_pipeline.calibration.features import (
    Feature,
    sigmoid,
)
from clear_pipeline.calibration.file import (
    Calibration,
    Candidate,
    MarksFit,
    remarks_on,
    rounded,
    weighed,
)
from clear_pipeline.calibration.logistic import fit_logistic
from clear_pipeline.calibration.reliability import Interval, reliability, resampled_counts
from clear_pipeline.calibration.small_models import SmallModel, models_for
from clear_pipeline.errors import UsageError
from clear_pipeline.scoring.parts import F64, Flags
from clear_pipeline.scoring.scored_by import ScoredBy

MIN_MARKS: Final = 50
MIN_PER_KIND: Final = 25
"""With fewer good or bad marks an interval is as wide as the answer."""
STRENGTHS: Final = (0.03, 0.3, 3.0)
FOLDS: Final = 5
RESAMPLES: Final = 300
_TAILS: Final = (2.5, 97.5)
_SURE: Final = 1e-6

I64 = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Marks:
    """What people said of some rows of a run.

    Attributes:
        rows: Positions of the marked rows among the scored rows of the run.
        bad: Per mark.
        weight: How many rows each mark stands for, > 0; None where none were given, which is
            right if the rows were drawn at random.
        content: Content hash of each marked row, so that the file can tell them from others; empty
            where they are not known.
    """

    rows: I64
    bad: Flags
    weight: F64 | None = None
    content: tuple[str, ...] = ()

    @property
    def shares(self) -> F64:
        """The weights, 1 on average; all 1 where none were given."""
        weight = np.ones(len(self.bad)) if self.weight is None else self.weight
        return np.asarray(weight / weight.mean())


def fit_marks(
    parts: Mapping[str, F64],
    marks: Marks,
    *,
    score: str,
    ranking: Calibration | None = None,
    scored_by: ScoredBy | None = None,
    seed: int = 0,
) -> tuple[Calibration, list[str]]:
    """Fit P(good) on marks.

    Args:
        parts: Of every scored row of the run, the run's own `score` among them.
        marks: At least 50, at least 25 good and 25 bad.
        score: Name of the run's own confidence among the parts.
        ranking: Fitted on corruptions of like data; one more candidate.
        scored_by: What computed the parts.
        seed: Of folds and resamples.

    Returns:
        The calibration, and remarks for people.

    Raises:
        UsageError: Too few marks, says what is missing; or the ranking needs a part that no row
            has.
    """
    check_enough(marks.bad)
    models = models_for(parts, marks.rows, marks.bad, score=score, ranking=ranking)
    weight = marks.shares
    candidates, (model, strength) = _choose(models, marks.rows, marks.bad, weight, seed=seed)
    fitted, draws = _refitted(model, marks, weight, strength=strength, seed=seed)
    features = weighed(model.features, fitted)
    turned = upside_down_among(
        features, {f.name: parts[f.name][marks.rows] for f in features}, ~marks.bad
    )
    unseen = _nested(models, marks, weight, seed)
    described = MarksFit(
        good=int((~marks.bad).sum()),
        bad=int(marks.bad.sum()),
        weighted=marks.weight is not None,
        chosen=model.name,
        candidates=candidates,
        reliability=reliability(unseen, marks.bad, weight, seed=seed),
        rows=len(model.rows),
        noise_rate=_noise_rate(model, fitted, draws),
        turned=turned,
        content=tuple(sorted(marks.content)),
    )
    calibration = _probability(features, fitted, draws, described, scored_by)
    return calibration, remarks_on(features, parts, turned)


def _probability(
    features: tuple[Feature, ...],
    fitted: F64,
    draws: F64,
    described: MarksFit,
    scored_by: ScoredBy | None,
) -> Calibration:
    return Calibration(
        kind="probability",
        features=features,
        intercept=rounded(fitted[0]),
        covariance=tuple(tuple(map(rounded, row)) for row in np.cov(draws.T)),
        scored_by=scored_by,
        marks=described,
    )


def _refitted(
    model: SmallModel, marks: Marks, weight: F64, *, strength: float, seed: int
) -> tuple[F64, F64]:
    """Intercept and weights of the features: of the fit itself, and one row per resample."""
    counts = resampled_counts(len(marks.bad), RESAMPLES, seed)
    both = ((counts @ ~marks.bad) > 0) & ((counts @ marks.bad) > 0)
    weights = np.vstack([weight, weight * counts[both]])
    fits = fit_logistic(model.inputs[marks.rows], ~marks.bad, weights, strength=strength)
    first, *others = fits @ model.basis.T
    return first, np.array(others)


def _noise_rate(model: SmallModel, fitted: F64, draws: F64) -> Interval:
    """Mean P(bad) over all scored rows of the run, with the interval of the resampled fits."""
    rates = [float(sigmoid(-model.rows @ draw).mean()) for draw in (fitted, *draws)]
    low, high = np.percentile(rates[1:], _TAILS)
    return Interval(value=rates[0], low=float(low), high=float(high))


def check_enough(bad: Flags) -> None:
    """Refuse too few marks.

    Raises:
        UsageError: With how many there are and how many are missing.
    """
    count = {"good": int((~bad).sum()), "bad": int(bad.sum())}
    missing = [f"{MIN_PER_KIND - n} more {k}" for k, n in count.items() if n < MIN_PER_KIND]
    short = MIN_MARKS - sum(count.values())
    if missing or short > 0:
        raise UsageError(
            f"{sum(count.values())} usable marks, {count['good']} good and {count['bad']} bad: "
            f"a probability needs at least {MIN_MARKS}, with {MIN_PER_KIND} of either kind; "
            f"mark {' and '.join(missing) or f'{short} more'}. To find bad ones, mark rows of "
            "low confidence"
        )


def _choose(
    models: Sequence[SmallModel], rows: I64, bad: Flags, weight: F64, *, seed: int
) -> tuple[tuple[Candidate, ...], tuple[SmallModel, float]]:
    """Every model at its best strength, and the one with the lowest cross-validated log loss."""
    best: dict[str, tuple[float, SmallModel, float]] = {}
    folds = _folds(bad, seed)
    for model, strength in product(models, STRENGTHS):
        inputs = model.inputs[rows]
        fits = fit_logistic(
            inputs, ~bad, weight * (folds != np.arange(FOLDS)[:, None]), strength=strength
        )
        p_good = sigmoid((inputs * fits[folds]).sum(axis=1))
        loss = log_loss(p_good, bad, weight)
        if model.name not in best or loss < best[model.name][0]:
            best[model.name] = (loss, model, strength)
    candidates = tuple(
        Candidate(
            name=model.name,
            signals=model.signals,
            strength=strength,
            log_loss=rounded(loss),
        )
        for loss, model, strength in best.values()
    )
    _, model, strength = min(best.values(), key=lambda entry: entry[0])
    return candidates, (model, strength)


def _nested(models: Sequence[SmallModel], marks: Marks, weight: F64, seed: int) -> F64:
    """P(bad) of each mark by a model that was chosen and fitted without it."""
    p_bad = np.empty(len(marks.bad))
    folds = _folds(marks.bad, seed + 1)
    for fold in range(FOLDS):
        train, test = folds != fold, folds == fold
        rows, bad, heavy = marks.rows[train], marks.bad[train], weight[train]
        _, (model, strength) = _choose(models, rows, bad, heavy, seed=seed)
        fitted = fit_logistic(model.inputs[rows], ~bad, heavy[None], strength=strength)[0]
        p_bad[test] = sigmoid(-model.inputs[marks.rows[test]] @ fitted)
    return p_bad


def _folds(bad: Flags, seed: int) -> I64:
    """The fold of each mark; every fold has its share of bad ones."""
    from sklearn.model_selection import StratifiedKFold

    fold = np.empty(len(bad), np.int64)
    splits = StratifiedKFold(n_splits=FOLDS, shuffle=True, random_state=seed)
    for number, (_, test) in enumerate(splits.split(bad, bad)):
        fold[test] = number
    return fold


def log_loss(p_good: F64, bad: Flags, weight: F64) -> float:
    """Weighted mean of -log of the probability given to what was marked; lower is better."""
    said = np.where(bad, 1 - p_good, p_good)
    return float(np.average(-np.log(np.clip(said, _SURE, 1.0)), weights=weight))
