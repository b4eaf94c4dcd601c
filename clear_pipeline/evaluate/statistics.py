"""How well a score tells bad rows from good ones, with bootstrap intervals.

Low scores should mean bad rows, and bad is the positive class: AUROC is the probability that a
random bad row scores below a random good one (a tie counts half); average precision is that of the
rows sorted from the lowest score up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import average_precision_score, roc_auc_score

F64: TypeAlias = NDArray[np.float64]
I64: TypeAlias = NDArray[np.int64]
Flags: TypeAlias = NDArray[np.bool_]

_TAILS = (2.5, 97.5)
_DRAWS_AT_ONCE = 1 << 20


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its 95 % bootstrap interval (percentiles of the resamples)."""

    value: float
    low: float
    high: float

    def shown(self, *, signed: bool = False) -> str:
        """For people, as in "0.812 [0.790, 0.833]"; `signed` for differences."""
        form = "+.3f" if signed else ".3f"
        return f"{self.value:{form}} [{self.low:{form}}, {self.high:{form}}]"


@dataclass(frozen=True, slots=True)
class Detection:
    """How well one score finds the `n_bad` bad rows among `n`. Both figures are in [0, 1].

    0.5 is chance for `auroc`, `n_bad / n` is chance for `average_precision`.
    """

    n: int
    n_bad: int
    auroc: Estimate
    average_precision: Estimate


def detection(
    scores: ArrayLike,
    bad: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> Detection:
    """AUROC and average precision of one score for finding bad rows.

    Args:
        scores: One finite number per row.
        bad: Per row, whether it is bad. Both kinds must occur.
        weight: How many rows each stands for, > 0; None = one.
        resamples: Bootstrap resamples; bad and good rows are drawn apart, so that each resample
            has as many of both as there are.
        seed: Of the draws.

    Raises:
        ValueError: A class is missing, a score is not finite, or the lengths differ.
    """
    values, is_bad = _checked(scores, bad)
    worth = np.ones(len(values)) if weight is None else np.asarray(weight, np.float64)
    auroc, precision = _resampled([values], is_bad, resamples, seed, worth)[0]
    return Detection(
        n=len(values),
        n_bad=int(is_bad.sum()),
        auroc=interval(_auroc(values, is_bad, worth), auroc),
        average_precision=interval(
            float(average_precision_score(is_bad, -values, sample_weight=worth)), precision
        ),
    )


def paired_difference(
    first: ArrayLike, second: ArrayLike, bad: ArrayLike, *, resamples: int = 1000, seed: int = 0
) -> Estimate:
    """AUROC of `first` minus AUROC of `second` on the same rows, resampled together.

    Arguments and errors as for `detection`. An interval that leaves out 0 says that the scores
    differ by more than the choice of rows explains.

    Returns:
        A figure in [-1, 1].
    """
    return mean_paired_difference([(first, second, bad)], resamples=resamples, seed=seed)


def mean_paired_difference(
    groups: Sequence[tuple[ArrayLike, ArrayLike, ArrayLike]],
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> Estimate:
    """The mean of `paired_difference` over several datasets, each resampled on its own.

    Args:
        groups: Per dataset the arguments (first, second, bad); at least one.
        resamples: Bootstrap resamples.
        seed: Of the draws.

    Returns:
        A figure in [-1, 1]; every dataset counts alike, whatever its size.
    """
    values, resampled = [], []
    for n, (first, second, bad) in enumerate(groups):
        one, is_bad = _checked(first, bad)
        other, _ = _checked(second, bad)
        each = np.ones(len(one))
        drawn = _resampled([one, other], is_bad, resamples, seed + n, each)
        values.append(_auroc(one, is_bad, each) - _auroc(other, is_bad, each))
        resampled.append(drawn[0, 0] - drawn[1, 0])
    return interval(float(np.mean(values)), np.mean(resampled, axis=0))


def _checked(scores: ArrayLike, bad: ArrayLike) -> tuple[F64, Flags]:
    values, is_bad = np.asarray(scores, np.float64), np.asarray(bad, bool)
    if values.shape != is_bad.shape:
        raise ValueError(f"{values.size} scores for {is_bad.size} labels")
    if not np.isfinite(values).all():
        raise ValueError("scores must be finite")
    if is_bad.all() or not is_bad.any():
        raise ValueError(
            f"{int(is_bad.sum())} of {is_bad.size} rows are bad; both kinds must occur"
        )
    return values, is_bad


def _auroc(values: F64, bad: Flags, weight: F64) -> float:
    return float(roc_auc_score(bad, -values, sample_weight=weight))


def interval(value: float, resampled: F64) -> Estimate:
    """A figure with the 95 % percentile interval of its values on resamples."""
    low, high = np.percentile(resampled, _TAILS)
    return Estimate(value, float(low), float(high))


def _resampled(columns: Sequence[F64], bad: Flags, resamples: int, seed: int, weight: F64) -> F64:
    """AUROC and average precision per resample: columns x 2 x resamples, each in [0, 1].

    Every column sees the same resamples.
    """
    rng = np.random.default_rng(seed)
    ranks = [_ranked(values) for values in columns]
    at_once = max(1, _DRAWS_AT_ONCE // len(bad))
    parts = []
    for start in range(0, resamples, at_once):
        size = min(at_once, resamples - start)
        drawn_bad = _drawn(np.flatnonzero(bad), size, rng)
        drawn_good = _drawn(np.flatnonzero(~bad), size, rng)
        parts.append(
            [
                _figures(
                    _counts(rank[drawn_bad], values, weight[drawn_bad]),
                    _counts(rank[drawn_good], values, weight[drawn_good]),
                )
                for rank, values in ranks
            ]
        )
    return np.concatenate(parts, axis=2)


def _drawn(rows: I64, size: int, rng: np.random.Generator) -> I64:
    drawn: I64 = rows[rng.integers(len(rows), size=(size, len(rows)))]
    return drawn


def _ranked(values: F64) -> tuple[I64, int]:
    """The place of each value among the distinct ones, and how many there are."""
    distinct, rank = np.unique(values, return_inverse=True)
    return rank, len(distinct)


def _counts(rank: I64, values: int, weight: F64) -> F64:
    """How many rows the occurrences of each rank stand for in each resample (row)."""
    size = len(rank)
    flat = rank + values * np.arange(size)[:, None]
    counts: F64 = np.bincount(
        flat.ravel(), weights=weight.ravel().astype(np.float64), minlength=size * values
    ).astype(np.float64)
    return counts.reshape(size, values)


def _figures(bad: F64, good: F64) -> F64:
    """AUROC and average precision from counts per resample and distinct score, ascending."""
    found, wrong = bad.cumsum(axis=1), good.cumsum(axis=1)
    pairs = found[:, -1:] * wrong[:, -1:]
    above = wrong[:, -1:] - wrong + good / 2
    rows = found + wrong
    precision = np.divide(found, rows, out=np.zeros_like(found), where=rows > 0)
    return np.stack(
        [(bad * above / pairs).sum(axis=1), (bad * precision / found[:, -1:]).sum(axis=1)]
    )
