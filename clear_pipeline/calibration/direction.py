"""Which way a signal points: up for good rows, or upside down."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Final

import numpy as np

from clear_pipeline.calibration.features import Feature
from clear_pipeline.scoring.parts import F64, Flags

_NORMAL: Final = 1.96


def auroc(values: F64, good: Flags) -> float:
    """Probability that a good row stands above a bad one, in [0, 1]; ties count half."""
    from sklearn.metrics import roc_auc_score  # takes a second to import

    return float(roc_auc_score(good, values))


def upside_down(values: F64, good: Flags) -> bool:
    """Whether low values mean good rows, beyond what chance does in so few rows.

    The AUROC lies more than 1.96 standard errors of a useless signal below 0.5 (Mann & Whitney
    1947).
    """
    ups, downs = int(good.sum()), int((~good).sum())
    error = math.sqrt((ups + downs + 1) / (12 * ups * downs))
    return auroc(values, good) < 1 / 2 - _NORMAL * error


def upside_down_among(
    features: Iterable[Feature], values: Mapping[str, F64], good: Flags
) -> tuple[str, ...]:
    """The features with a negative weight that are `upside_down` alone too, on rows that have them.

    The absence of a part has no right way up.
    """
    return tuple(
        feature.name
        for feature in features
        if feature.weight < 0
        and feature.transform != "missing"
        and _upside_down_where_known(values[feature.name], good)
    )


def _upside_down_where_known(values: F64, good: Flags) -> bool:
    there = np.isfinite(values)
    both = bool(good[there].any()) and not bool(good[there].all())
    return both and upside_down(values[there], good[there])
