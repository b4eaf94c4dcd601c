"""Weights from planted corruptions: an order of rows, no probability.

Corruptions are planted, so their share says nothing about the data, and they are only as like real
faults as they are. What they do show is which signals go up for a better response, and which are
upside down for this model on this data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from clear_pipeline.calibration.direction import auroc, upside_down_among
from clear_pipeline.calibration.features import Feature, design, finest, sigmoid, transformed
from clear_pipeline.calibration.file import (
    Calibration,
    CorruptionFit,
    LeftOut,
    remarks_on,
    rounded,
    weighed,
)
from clear_pipeline.calibration.logistic import balanced, fit_logistic
from clear_pipeline.calibration.missing import features_of, gaps, known
from clear_pipeline.errors import UsageError
from clear_pipeline.scoring.parts import F64, Flags
from clear_pipeline.scoring.scored_by import ScoredBy

STRENGTH: Final = 1.0
"""Inverse regularisation: rows are many against the signals, so it only holds twins together."""
FOLDS: Final = 5
MIN_ORIGINALS: Final = 20
"""Fewer originals make folds in which nothing can be measured."""

Names = NDArray[np.str_]


@dataclass(frozen=True, slots=True)
class _Rows:
    """Scored rows of a probe; `kinds` is "" for an original."""

    parts: Mapping[str, F64]
    kinds: Names
    groups: Names

    @property
    def good(self) -> Flags:
        """Which are originals."""
        found: Flags = self.kinds == ""
        return found

    def among(self, corruptions: Sequence[str]) -> Flags:
        """Which are originals or of these corruptions."""
        found: Flags = np.isin(self.kinds, ["", *corruptions])
        return found

    def of(self, corruptions: Sequence[str]) -> _Rows:
        """The originals and the rows of these corruptions alone."""
        return self.at(self.among(corruptions))

    def at(self, which: Flags | NDArray[np.int64]) -> _Rows:
        """Some of the rows."""
        parts = {name: values[which] for name, values in self.parts.items()}
        return _Rows(parts, self.kinds[which], self.groups[which])


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
            set: neither weights nor features nor their scales. Their AUROC is reported all the
            same.
        scored_by: What computed the parts.

    Returns:
        The ranking, and remarks for people.

    Raises:
        UsageError: Too few originals, no corruption is left, or no part is there in enough rows.
    """
    rows = _Rows(
        parts, np.array(["" if c is None else c for c in corruption]), np.array(original_id)
    )
    used = _used(rows.kinds, leave_out)
    inside = rows.of(used)
    features, coefficients = _fit(inside)
    described = _described(features, rows, used)
    calibration = Calibration(
        kind="ranking-only",
        features=features,
        intercept=rounded(coefficients[0]),
        scored_by=scored_by,
        corruptions=described,
    )
    return calibration, remarks_on(features, inside.parts, described.turned)


def _described(features: Sequence[Feature], rows: _Rows, used: Sequence[str]) -> CorruptionFit:
    """How well a fit on the corruptions in `used` tells rows apart that it has not seen."""
    inside, scores = rows.of(used), _out_of_fold(rows, used)
    every = sorted(set(rows.kinds.tolist()) - {""})
    return CorruptionFit(
        originals=int(rows.good.sum()),
        corrupted=int((~inside.good).sum()),
        auroc=_auroc(scores[rows.among(used)], inside.good),
        signals=_alone(features, inside),
        turned=upside_down_among(features, inside.parts, inside.good),
        corruptions=tuple(_left_out(c, rows, used=used, scores=scores) for c in every),
    )


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


def _fit(rows: _Rows) -> tuple[tuple[Feature, ...], F64]:
    """Choose, standardise and weigh the features on these rows alone.

    Returns:
        The features with their weights, and the intercept before the weights as fitted.
    """
    names = finest(known(rows.parts))
    if not names:
        raise UsageError("no part of the score is there in enough rows; score the rows again")
    features = features_of(names, rows.parts, gaps=gaps(names, rows.parts))
    matrix = design(features, rows.parts)
    fitted = fit_logistic(matrix, rows.good, balanced(rows.good)[None], strength=STRENGTH)[0]
    return weighed(features, fitted), fitted


def _out_of_fold(rows: _Rows, used: Sequence[str]) -> F64:
    """The score of each row by a fit on other originals and on the corruptions in `used`."""
    from sklearn.model_selection import GroupKFold

    inside = rows.among(used)
    scores = np.empty(len(rows.kinds))
    folds = GroupKFold(n_splits=FOLDS, shuffle=True, random_state=0)
    for train, test in folds.split(rows.kinds, groups=rows.groups):
        learnt = rows.at(train[inside[train]])
        if learnt.good.all() or not learnt.good.any():
            raise UsageError(f"too few rows of {', '.join(used)} to split into {FOLDS} folds")
        features, coefficients = _fit(learnt)
        scores[test] = sigmoid(design(features, rows.at(test).parts) @ coefficients)
    return scores


def _left_out(corruption: str, rows: _Rows, *, used: Sequence[str], scores: F64) -> LeftOut:
    own = rows.among([corruption])
    good = rows.good[own]
    others = [c for c in used if c != corruption]
    seen = _auroc(scores[own], good) if corruption in used else None
    unseen = None
    if others:
        blind = _out_of_fold(rows, others) if corruption in used else scores
        unseen = _auroc(blind[own], good)
    return LeftOut(
        corruption=corruption,
        rows=int((rows.kinds == corruption).sum()),
        used=corruption in used,
        seen=seen,
        unseen=unseen,
    )


def _alone(features: Sequence[Feature], rows: _Rows) -> dict[str, float]:
    """AUROC of each signal by itself, where it is known of good and of bad rows."""
    found = {}
    for feature in features:
        values = transformed(rows.parts[feature.name], feature.transform)
        there = np.isfinite(values)
        if 0 < rows.good[there].sum() < there.sum():
            found[feature.label] = _auroc(values[there], rows.good[there])
    return found


def _auroc(scores: F64, good: Flags) -> float:
    return rounded(auroc(scores, good))
