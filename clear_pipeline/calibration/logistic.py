"""Regularised logistic regression of good against bad, many small fits at once.

The objective is that of scikit-learn's `LogisticRegression`, and a test holds the two equal. Folds
and resamples are nothing but weights of the same rows, so that the hundreds of fits behind one
calibration are one batch of Newton steps: hundredths of a second instead of half a minute.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from clear_pipeline.calibration.features import sigmoid
from clear_pipeline.scoring.parts import F64, Flags

_STEPS: Final = 200
_CLOSE: Final = 1e-10
_LONGEST: Final = 2.0
"""No log-odds move further in one step: a full Newton step can overshoot where rows are parted."""


def fit_logistic(rows: F64, good: Flags, weight: F64, *, strength: float) -> F64:
    """Intercepts and weights of P(good); the intercept is free, the weights are held to 0 (L2).

    Args:
        rows: n x (1 + d), the first column ones; see `features.design`.
        good: Per row.
        weight: fits x n, >= 0; 0 leaves a row out. Each fit must have both kinds.
        strength: Inverse of the regularisation, > 0: smaller holds the weights nearer to 0.

    Returns:
        fits x (1 + d).
    """
    size = rows.shape[1]
    penalty = np.full(size, 1 / strength)
    penalty[0] = 0.0
    found = np.zeros((len(weight), size))
    for _ in range(_STEPS):
        p = sigmoid(found @ rows.T)
        slope = (weight * (good - p)) @ rows - penalty * found
        bend = np.einsum("fn,ni,nj->fij", weight * p * (1 - p), rows, rows, optimize=True)
        step = np.linalg.solve(bend + np.diag(penalty + _CLOSE), slope[..., None])[..., 0]
        longest = np.abs(step @ rows.T).max(axis=1, initial=0.0)
        found += step * np.minimum(1.0, _LONGEST / np.maximum(longest, _CLOSE))[:, None]
        if longest.max(initial=0.0) < _CLOSE:
            break
    return found


def balanced(good: Flags) -> F64:
    """Weights with which good and bad rows count the same in total; their mean is 1."""
    share = good.mean()
    weight: F64 = np.where(good, 0.5 / share, 0.5 / (1 - share))
    return weight
