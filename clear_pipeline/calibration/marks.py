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
    coarsest,
    design,
    finest,
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
from clear_pipeline.calibration.missing import features_of, gaps, known
from clear_pipeline.calibration.reliability import Interval, reliability, resampled_counts
from clear_pipeline.errors import UsageError
from clear_pipeline.scoring.parts import F64, Flags
from clear_pipeline.scoring.scored_by import ScoredBy

MIN_MARKS: Final = 50
MIN_PER_KIND: Final = 25
"""With fewer good or bad marks an interval is as wide as the answer."""
MARKS_PER_WEIGHT: Final = 10
"""Marks of the rarer kind for each weight that is fitted (Peduzzi et al. 1996)."""
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


@dataclass(frozen=True, slots=True)
class _Model:
    """A small model: `rows @ basis` are its inputs, so `basis @ fitted` weighs the features."""

    name: str
    features: tuple[Feature, ...]
    rows: F64
    basis: F64

    @property
    def signals(self) -> tuple[str, ...]:
        """What it weighs, by label."""
        return tuple(feature.label for feature in self.features)

    @property
    def inputs(self) -> F64:
        """Rows x (1 + weights)."""
        return self.rows @ self.basis


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
    models = _models(parts, marks, score, ranking)
    weight = np.ones(len(marks.bad)) if marks.weight is None else marks.weight
    weight = weight / weight.mean()
    candidates, (model, strength) = _choose(models, marks.rows, marks.bad, weight, seed=seed)
    fitted, draws = _refitted(model, marks, weight, strength=strength, seed=seed)
    features = weighed(model.features, fitted)
    turned = upside_down_among(
        features, {f.name: parts[f.name][marks.rows] for f in features}, ~marks.bad
    )
    calibration = Calibration(
        kind="probability",
        features=features,
        intercept=rounded(fitted[0]),
        covariance=tuple(tuple(map(rounded, row)) for row in np.cov(draws.T)),
        scored_by=scored_by,
        marks=MarksFit(
            good=int((~marks.bad).sum()),
            bad=int(marks.bad.sum()),
            weighted=marks.weight is not None,
            chosen=model.name,
            candidates=candidates,
            reliability=reliability(
                _nested(models, marks, weight, seed), marks.bad, weight, seed=seed
            ),
            rows=len(model.rows),
            noise_rate=_noise_rate(model, fitted, draws),
            turned=turned,
            content=tuple(sorted(marks.content)),
        ),
    )
    return calibration, remarks_on(features, parts, turned)


def _refitted(
    model: _Model, marks: Marks, weight: F64, *, strength: float, seed: int
) -> tuple[F64, F64]:
    """Intercept and weights of the features: of the fit itself, and one row per resample."""
    counts = resampled_counts(len(marks.bad), RESAMPLES, seed)
    both = ((counts @ ~marks.bad) > 0) & ((counts @ marks.bad) > 0)
    weights = np.vstack([weight, weight * counts[both]])
    fits = fit_logistic(model.inputs[marks.rows], ~marks.bad, weights, strength=strength)
    first, *others = fits @ model.basis.T
    return first, np.array(others)


def _noise_rate(model: _Model, fitted: F64, draws: F64) -> Interval:
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


def _models(
    parts: Mapping[str, F64], marks: Marks, score: str, ranking: Calibration | None
) -> list[_Model]:
    """What the marks can choose between, the smallest first."""
    if score not in parts or not np.isfinite(parts[score]).all():
        raise UsageError(f"some scored rows have no {score}; run the score stage again")
    models = [_plain("confidence", (score,), parts, gaps=())]
    if ranking is not None:
        models.append(_stretched(ranking, parts))
    rarer = int(min(marks.bad.sum(), (~marks.bad).sum()))
    marked = {name: values[marks.rows] for name, values in parts.items() if name != score}
    there = known(marked)
    choices = {"parts": coarsest(there), "wordings and parts": finest(there)}
    for name, names in choices.items():
        model = _plain(name, names, parts, gaps=gaps(names, marked))
        affordable = len(model.features) * MARKS_PER_WEIGHT <= rarer
        if names and affordable and model.signals not in [other.signals for other in models]:
            models.append(model)
    return models


def _plain(
    name: str, names: Sequence[str], parts: Mapping[str, F64], *, gaps: Sequence[str]
) -> _Model:
    features = features_of(names, parts, gaps=gaps)
    return _Model(name, features, design(features, parts), np.eye(len(features) + 1))


def _stretched(ranking: Calibration, parts: Mapping[str, F64]) -> _Model:
    """A ranking as one input: its own weights stay in proportion."""
    there = {name for name, values in parts.items() if np.isfinite(values).any()}
    if missing := [f.name for f in ranking.features if f.name not in there]:
        raise UsageError(
            f"the ranking uses {', '.join(missing)}, which no scored row has; "
            "fit it on a probe with the same preset"
        )
    rows = design(ranking.features, parts)
    log_odds = rows @ ranking.coefficients
    spread = float(log_odds.std()) or 1.0
    ones = np.eye(len(ranking.features) + 1)[:, 0]
    slope = (ranking.coefficients - float(log_odds.mean()) * ones) / spread
    return _Model("ranking", ranking.features, rows, np.column_stack([ones, slope]))


def _choose(
    models: Sequence[_Model], rows: I64, bad: Flags, weight: F64, *, seed: int
) -> tuple[tuple[Candidate, ...], tuple[_Model, float]]:
    """Every model at its best strength, and the one with the lowest cross-validated log loss."""
    best: dict[str, tuple[float, _Model, float]] = {}
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


def _nested(models: Sequence[_Model], marks: Marks, weight: F64, seed: int) -> F64:
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
