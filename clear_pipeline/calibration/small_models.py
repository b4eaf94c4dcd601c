"""The models that marks are enough for: one score, a ranking, or a handful of parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from clear_pipeline.calibration.features import CLIP, Feature, coarsest, design, finest
from clear_pipeline.calibration.file import Calibration
from clear_pipeline.calibration.missing import features_of, gaps, known
from clear_pipeline.errors import UsageError
from clear_pipeline.scoring.parts import F64, Flags

MARKS_PER_WEIGHT: Final = 10
"""Marks of the rarer kind for each weight that is fitted (Peduzzi et al. 1996)."""


@dataclass(frozen=True, slots=True)
class SmallModel:
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


def models_for(
    parts: Mapping[str, F64],
    rows: NDArray[np.int64],
    bad: Flags,
    *,
    score: str,
    ranking: Calibration | None,
) -> list[SmallModel]:
    """What marks can choose between, the smallest first.

    Args:
        parts: Of every scored row of the run, its own `score` among them.
        rows: Positions of the marked rows.
        bad: Per mark.
        score: Name of the run's own confidence among the parts.
        ranking: Fitted on corruptions of like data; one more model.

    Raises:
        UsageError: A row has no score, or the ranking needs a part that no row has.
    """
    if score not in parts or not np.isfinite(parts[score]).all():
        raise UsageError(f"some scored rows have no {score}; run the score stage again")
    models = [_plain("confidence", (score,), parts, gaps=())]
    if ranking is not None:
        models.append(_stretched(ranking, parts))
    rarer = int(min(bad.sum(), (~bad).sum()))
    marked = {name: values[rows] for name, values in parts.items() if name != score}
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
) -> SmallModel:
    features = features_of(names, parts, gaps=gaps)
    return SmallModel(name, features, design(features, parts), np.eye(len(features) + 1))


def _stretched(ranking: Calibration, parts: Mapping[str, F64]) -> SmallModel:
    """A ranking as one input: its own weights stay in proportion."""
    there = {name for name, values in parts.items() if np.isfinite(values).any()}
    if missing := [f.name for f in ranking.features if f.name not in there]:
        raise UsageError(
            f"the ranking uses {', '.join(missing)}, which no scored row has; "
            "fit it on a probe with the same preset"
        )
    rows = design(ranking.features, parts)
    log_odds = rows @ ranking.coefficients
    spread = float(log_odds.std())
    spread = spread if spread > CLIP else 1.0  # the mean of equal numbers may differ from them
    ones = np.eye(len(ranking.features) + 1)[:, 0]
    slope = (ranking.coefficients - float(log_odds.mean()) * ones) / spread
    return SmallModel("ranking", ranking.features, rows, np.column_stack([ones, slope]))
