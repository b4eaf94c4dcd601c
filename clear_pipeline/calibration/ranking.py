"""Weights from planted corruptions: an order of rows, no probability.

Corruptions are planted, so their share says nothing about the data, and they are only as like real
faults as they are. What they do show is which signals go up for a better response, and which are
upside down for this model on this data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from clear_pipeline.calibration.direction import auroc, upside_down_among
from clear_pipeline.calibration.features import complete, design, finest, sigmoid, standard
from clear_pipeline.calibration.file import (
    Calibration,
    CorruptionFit,
    LeftOut,
    remarks_on,
    rounded,
    weighed,
)
from clear_pipeline.calibration.logistic import balanced, fit_logistic
from clear_pipeline.errors import UsageError
from clear_pipeline.scoring.parts import F64
from clear_pipeline.scoring.scored_by import ScoredBy

STRENGTH: Final = 1.0
"""Inverse regularisation: rows are many against the signals, so it only holds twins together."""
FOLDS: Final = 5
MIN_ORIGINALS: Final = 20
"""Fewer originals make folds in which nothing can be measured."""

Names = NDArray[np.str_]


def fit_ranking(
    parts: Mapping[str, F64],
    corruption: Sequence[str | None],
    original_id: Sequence[str],
    *,
    leave_out: Sequence[str] = (),
    scored_by: ScoredBy | None = None,
) -> tuple[Calibration, list[str]]:
    """Weigh the parts so that originals stand above their corruptions.

    Args:
        parts: Per part one value per row, NaN where missing; see `scoring.parts.parts`.
        corruption: Per row the corruption that made it; None for an original.
        original_id: Per row the original; rows of one original never stand on both sides of
            a fold.
        leave_out: Corruptions that the fit must not see, such as the one that made a labelled
            set. Their AUROC is reported all the same.
        scored_by: What computed the parts.

    Returns:
        The ranking, and remarks for people.

    Raises:
        UsageError: Too few originals, no corruption is left, or no part is there in every row.
    """
    kinds = np.array(["" if c is None else c for c in corruption])
    groups = np.array(original_id)
    used = _used(kinds, leave_out)
    whole, partial = complete(parts)
    names = finest(whole)
    if not names:
        raise UsageError("no part of the score is there in every row; score the rows again")
    features = tuple(standard(name, whole[name]) for name in names)
    rows = design(features, whole)
    inside = np.isin(kinds, ["", *used])
    fitted = _fit(rows[inside], kinds[inside])
    features = weighed(features, fitted)
    turned = upside_down_among(
        features, {name: whole[name][inside] for name in names}, kinds[inside] == ""
    )
    scores = _out_of_fold(rows, kinds, groups, used)
    every = sorted(set(kinds.tolist()) - {""})
    fit = CorruptionFit(
        originals=int((kinds == "").sum()),
        corrupted=int((inside & (kinds != "")).sum()),
        auroc=_auroc(scores[inside], kinds[inside]),
        signals={name: _auroc(whole[name][inside], kinds[inside]) for name in names},
        turned=turned,
        corruptions=tuple(
            _left_out(c, rows, kinds, groups, used=used, scores=scores) for c in every
        ),
    )
    calibration = Calibration(
        kind="ranking-only",
        features=features,
        intercept=rounded(fitted[0]),
        scored_by=scored_by,
        corruptions=fit,
    )
    return calibration, remarks_on(partial, turned)


def _used(kinds: Names, leave_out: Sequence[str]) -> list[str]:
    """The corruptions to fit on."""
    there = sorted(set(kinds.tolist()) - {""})
    if unknown := sorted(set(leave_out) - set(there)):
        raise UsageError(f"no corruption {', '.join(unknown)}; there are {', '.join(there)}")
    used = [c for c in there if c not in leave_out]
    if not used:
        raise UsageError("no corruption is left to fit on; leave out fewer")
    originals = int((kinds == "").sum())
    if originals < MIN_ORIGINALS:
        raise UsageError(f"{originals} originals; at least {MIN_ORIGINALS} are needed")
    return used


def _fit(rows: F64, kinds: Names) -> F64:
    good = kinds == ""
    fitted: F64 = fit_logistic(rows, good, balanced(good)[None], strength=STRENGTH)[0]
    return fitted


def _out_of_fold(rows: F64, kinds: Names, groups: Names, used: Sequence[str]) -> F64:
    """The score of each row by a fit on other originals and on the corruptions in `used`."""
    from sklearn.model_selection import GroupKFold

    inside = np.isin(kinds, ["", *used])
    scores = np.empty(len(kinds))
    folds = GroupKFold(n_splits=FOLDS, shuffle=True, random_state=0)
    for train, test in folds.split(rows, groups=groups):
        known = train[inside[train]]
        if len(set((kinds[known] == "").tolist())) < 2:  # noqa: PLR2004 - originals and corrupted
            raise UsageError(f"too few rows of {', '.join(used)} to split into {FOLDS} folds")
        scores[test] = sigmoid(rows[test] @ _fit(rows[known], kinds[known]))
    return scores


def _left_out(
    corruption: str,
    rows: F64,
    kinds: Names,
    groups: Names,
    *,
    used: Sequence[str],
    scores: F64,
) -> LeftOut:
    own = np.isin(kinds, ["", corruption])
    others = [c for c in used if c != corruption]
    seen = _auroc(scores[own], kinds[own]) if corruption in used else None
    unseen = None
    if others:
        blind = _out_of_fold(rows, kinds, groups, others) if corruption in used else scores
        unseen = _auroc(blind[own], kinds[own])
    return LeftOut(
        corruption=corruption,
        rows=int((kinds == corruption).sum()),
        used=corruption in used,
        seen=seen,
        unseen=unseen,
    )


def _auroc(scores: F64, kinds: Names) -> float:
    return rounded(auroc(scores, kinds == ""))
