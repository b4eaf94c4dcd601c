"""From the parts of a confidence to the standardised numbers that a calibration weighs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal

import numpy as np
from pydantic import Field

from clear_pipeline.scoring.parts import F64
from clear_pipeline.settings import Settings

Transform = Literal["logit", "none", "missing"]
"""`missing` is 1 where there is no value, else 0."""

CLIP: Final = 1e-6
"""A probability nearer to 0 or 1 than this counts as this: log-probabilities of a server are no
more exact, and one row must not outweigh all others."""

AVERAGES: Final = frozenset({"consistency", "entailment", "exact_match"})
"""Shares of a few draws: 0 and 1 are common there and mean nothing extreme, so no logit."""

LOGARITHMS: Final = frozenset({"logp_given_prompt", "logp_alone"})
"""Logarithms already."""


class Feature(Settings):
    """One signal of a calibration: weight * (transform(value) - mean) / scale."""

    name: str
    """As in `scoring.parts.parts`, or a column of `stages.confidence.REFINED`."""
    transform: Transform
    mean: float
    scale: float = Field(gt=0)
    weight: float

    @property
    def label(self) -> str:
        """The name, told apart from that of the absence of the same part."""
        return f"{self.name} missing" if self.transform == "missing" else self.name


def transform_of(name: str) -> Transform:
    """How a part of that name enters: probabilities as log-odds, else as it is."""
    return "none" if name in AVERAGES | LOGARITHMS else "logit"


def transformed(values: F64, transform: Transform) -> F64:
    """The values on the scale that is weighed; NaN stays NaN, but for `missing`."""
    if transform == "missing":
        return np.isnan(values).astype(np.float64)
    if transform == "none":
        return values
    return log_odds(values)


def log_odds(probability: F64) -> F64:
    """Log of p / (1 - p), p held within `CLIP` of 0 and 1."""
    clipped = np.clip(probability, CLIP, 1 - CLIP)
    odds: F64 = np.log(clipped / (1 - clipped))
    return odds


def sigmoid(odds: F64) -> F64:
    """1 / (1 + exp(-odds)), in [0, 1], without overflow; the inverse of `log_odds`."""
    probability: F64 = (1 + np.tanh(odds / 2)) / 2
    return probability


def standard(name: str, values: F64, *, transform: Transform | None = None) -> Feature:
    """The feature of that name with the mean and scale of these rows and weight 1.

    A part that is the same in every row has scale 1, so that it says nothing.

    Args:
        name: Of the part.
        values: Of rows of which at least one has it.
        transform: None = that of the name.
    """
    transform = transform or transform_of(name)
    known = transformed(values, transform)
    spread = float(np.nanstd(known))
    return Feature(
        name=name,
        transform=transform,
        mean=float(np.nanmean(known)),
        scale=spread if spread > CLIP else 1.0,
        weight=1.0,
    )


def standardised(feature: Feature, values: F64) -> F64:
    """Distance from the mean in units of the scale; 0, the mean, where the value is missing."""
    moved = (transformed(values, feature.transform) - feature.mean) / feature.scale
    known: F64 = np.nan_to_num(moved, nan=0.0)
    return known


def design(features: tuple[Feature, ...], parts: Mapping[str, F64]) -> F64:
    """Rows x (1 + features): a column of ones, then each feature standardised."""
    rows = len(next(iter(parts.values())))
    columns = [standardised(feature, parts[feature.name]) for feature in features]
    return np.column_stack([np.ones(rows), *columns])


def finest(names: Sequence[str]) -> list[str]:
    """The parts that are no average of others that are there."""
    drop = set()
    if any(name.startswith("reflection.") for name in names):
        drop.add("reflection")
    if {"entailment", "exact_match"} <= set(names):
        drop.add("consistency")
    return [name for name in names if name not in drop]


def coarsest(names: Sequence[str]) -> list[str]:
    """The averages instead of what they are made of, where they are there."""
    drop = set()
    if "reflection" in names:
        drop |= {name for name in names if name.startswith("reflection.")}
    if "consistency" in names:
        drop |= {"entailment", "exact_match"}
    if "likelihood" in names:
        drop |= LOGARITHMS
    return [name for name in names if name not in drop]
