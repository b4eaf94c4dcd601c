"""The calibration file: signals, weights, what it was fitted on, and how well it does.

It holds numbers, names and hashes only, never a text or an id of the dataset.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Literal, TypeVar

import numpy as np
from pydantic import Field, ValidationError, model_validator

from clear_pipeline.calibration.features import Feature, design, sigmoid
from clear_pipeline.calibration.missing import remarks_on_missing
from clear_pipeline.calibration.reliability import Interval, Reliability
from clear_pipeline.durable import write_text_atomically
from clear_pipeline.errors import UsageError
from clear_pipeline.scoring.parts import F64
from clear_pipeline.scoring.scored_by import ScoredBy
from clear_pipeline.settings import Settings

_File = TypeVar("_File", bound=Settings)

ONE_SIDED: Final = 1.645
"""Standard errors below the estimate: true values lie below with a probability of 5 %."""


class LeftOut(Settings):
    """How one corruption is told from its originals, 1 = always; rows held out of the fit.

    `seen` is by a fit that knew this corruption from other rows, `unseen` by one that never met it.
    """

    corruption: str
    rows: int
    used: bool
    seen: float | None
    unseen: float | None


class CorruptionFit(Settings):
    """What a ranking was fitted on."""

    originals: int
    corrupted: int
    auroc: float
    """Of the corruptions used together, out of fold, in [0, 1]."""
    signals: dict[str, float]
    """AUROC of each signal alone, on the rows that have it, where these are of both kinds."""
    turned: tuple[str, ...]
    """Signals that were upside down and are used with a negative weight."""
    corruptions: tuple[LeftOut, ...]


class Candidate(Settings):
    """One model that was tried on the marks. `log_loss` is cross-validated, lower is better."""

    name: str
    signals: tuple[str, ...]
    strength: float
    """Inverse of the regularisation."""
    log_loss: float


class MarksFit(Settings):
    """What probabilities were fitted on, and how far they can be believed."""

    good: int
    bad: int
    weighted: bool
    """Whether the marks came with sampling weights."""
    chosen: str
    candidates: tuple[Candidate, ...]
    reliability: Reliability
    rows: int
    """Scored rows of the run."""
    noise_rate: Interval
    """Share of bad rows among them."""
    turned: tuple[str, ...]
    content: tuple[str, ...] = ()
    """Content hashes of the marked rows, in order; empty where they are not known."""


class Calibration(Settings):
    """A fitted combination of signals: sigmoid(intercept + sum of the weighted features)."""

    format: Literal[1] = 1
    kind: Literal["ranking-only", "probability"]
    """`ranking-only`: the value orders rows and means nothing else. `probability`: it is
    P(good)."""
    features: tuple[Feature, ...] = Field(min_length=1)
    intercept: float
    covariance: tuple[tuple[float, ...], ...] | None = None
    """Of intercept and weights over resampled marks; only of probabilities."""
    scored_by: ScoredBy | None = None
    corruptions: CorruptionFit | None = None
    marks: MarksFit | None = None

    @model_validator(mode="after")
    def _holds_together(self) -> Calibration:
        size = len(self.features) + 1
        if self.kind == "ranking-only":
            if self.covariance is not None or self.corruptions is None:
                raise ValueError("a ranking has corruptions and no covariance")
        elif self.marks is None or self.covariance is None:
            raise ValueError("a probability has marks and a covariance")
        elif [len(row) for row in self.covariance] != [size] * size:
            raise ValueError(f"covariance: expected {size} x {size} numbers")
        return self

    @property
    def coefficients(self) -> F64:
        """The intercept, then the weight of each feature."""
        return np.array([self.intercept, *(feature.weight for feature in self.features)])

    @property
    def turned(self) -> tuple[str, ...]:
        """Signals that were upside down in what it was fitted on, and are used turned."""
        fits = (self.marks, self.corruptions)
        return next((fit.turned for fit in fits if fit is not None), ())

    def tried(self, signal: str) -> bool:
        """Whether the fit weighs this signal, or could have and found others better."""
        candidates = () if self.marks is None else self.marks.candidates
        names = {feature.name for feature in self.features}
        return signal in names.union(*(candidate.signals for candidate in candidates))

    def calibrated(self, parts: Mapping[str, F64]) -> F64:
        """The combined score of each row, in [0, 1]; higher is better.

        Args:
            parts: At least the features, see `scoring.parts.parts`. A missing value counts as
                the mean of its feature.
        """
        probability: F64 = sigmoid(design(self.features, parts) @ self.coefficients)
        return probability

    def lower_bound(self, parts: Mapping[str, F64]) -> F64:
        """P(good) less 1.645 standard errors on the scale of log-odds: its lower 95 % bound.

        The error is that of the fit on so few marks. A ranking has none.
        """
        if self.covariance is None:
            raise ValueError("a ranking-only calibration has no probability")
        rows = design(self.features, parts)
        variance = np.einsum("ij,jk,ik->i", rows, np.array(self.covariance), rows)
        error = np.sqrt(np.maximum(variance, 0.0))
        probability: F64 = sigmoid(rows @ self.coefficients - ONE_SIDED * error)
        return probability

    def save(self, path: Path) -> None:
        """Write it as JSON, durably."""
        write_text_atomically(path, self.model_dump_json(indent=1) + "\n")

    @classmethod
    def read(cls, path: Path) -> Calibration:
        """Read it back.

        Raises:
            UsageError: There is no such file, or it is no calibration of this version.
        """
        return read_settings(cls, path, command="calibrate RUN --marks FILE")


def read_settings(kind: type[_File], path: Path, *, command: str) -> _File:
    """A file that `clear-pipeline COMMAND --out FILE` wrote.

    Raises:
        UsageError: There is no such file, or it is none of this kind and version.
    """
    try:
        return kind.model_validate_json(path.read_bytes())
    except OSError as error:
        raise UsageError(
            f"{path}: cannot be read ({error.strerror}); "
            f"write one: clear-pipeline {command} --out {path.name}"
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "file"
        raise UsageError(
            f"{path}: no calibration file of this version ({place}: {first['msg']}); "
            f"fit it again: clear-pipeline {command} --out {path.name}"
        ) from error


def rounded(value: float) -> float:
    """Six significant digits: what is written is what is used, and no more was measured."""
    return float(f"{value:.6g}")


def weighed(features: tuple[Feature, ...], coefficients: F64) -> tuple[Feature, ...]:
    """The features with fitted weights; the first coefficient is the intercept."""
    return tuple(
        feature.model_copy(update={"weight": rounded(weight)})
        for feature, weight in zip(features, coefficients[1:], strict=True)
    )


def remarks_on(
    features: Sequence[Feature], parts: Mapping[str, F64], turned: Sequence[str]
) -> list[str]:
    """What a fit has to say: signals that some rows lack, and those that were upside down."""
    remarks = list(remarks_on_missing(features, parts))
    if turned:
        remarks.append(f"upside down here, and turned: {', '.join(turned)}")
    return remarks
