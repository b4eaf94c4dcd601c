"""Bootstrap intervals of a mean and of a paired difference, over rows and over seeds.

Values stand in a matrix of seeds (of training, say) by rows. Each resample draws the rows with
replacement, the same ones for both sides of a difference, and, where a side has several seeds,
those too: the interval then tells what another test set *and* another training run would change.
Source: Efron & Tibshirani 1993, ch. 13 (percentiles); the two-way resampling of crossed factors is
Owen 2007 (Annals of Applied Statistics 1, "The pigeonhole bootstrap").
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from clear_pipeline.evaluate.statistics import F64, Estimate, interval

_CELLS_AT_ONCE: Final = 1 << 22


def mean_estimate(values: ArrayLike, *, resamples: int = 1000, seed: int = 0) -> Estimate | None:
    """The mean of seeds x rows with its interval.

    Args:
        values: Seeds by rows; NaN = no value, left out of the mean.
        resamples: Of the bootstrap.
        seed: Of the draws.

    Returns:
        None where there is no value at all.
    """
    matrix = _matrix(values)
    matrix = matrix[:, np.isfinite(matrix).any(axis=0)]
    if not matrix.size:
        return None
    means = np.concatenate(list(_means([matrix], resamples, seed)), axis=1)[0]
    return interval(float(np.nanmean(matrix)), means[np.isfinite(means)])


def mean_difference(
    first: ArrayLike, second: ArrayLike, *, resamples: int = 1000, seed: int = 0
) -> tuple[int, Estimate | None]:
    """Mean of `first` minus mean of `second` on the rows on which every seed of both has a value.

    Args:
        first: Seeds by rows; NaN = no value.
        second: The same rows; the number of seeds may differ.
        resamples: Of the bootstrap.
        seed: Of the draws.

    Returns:
        How many rows these are, and the difference; None without any.

    Raises:
        ValueError: The rows are not as many.
    """
    sides = [_matrix(first), _matrix(second)]
    if sides[0].shape[1] != sides[1].shape[1]:
        raise ValueError(f"{sides[0].shape[1]} rows against {sides[1].shape[1]}")
    there = np.all([np.isfinite(side).all(axis=0) for side in sides], axis=0)
    one, two = (side[:, there] for side in sides)
    rows = int(there.sum())
    if not rows:
        return 0, None
    means = np.concatenate(list(_means([one, two], resamples, seed)), axis=1)
    return rows, interval(float(one.mean() - two.mean()), means[0] - means[1])


def ratio_estimate(
    total: ArrayLike, count: ArrayLike, *, resamples: int = 1000, seed: int = 0
) -> Estimate:
    """The sum of `total` over the sum of `count` with its interval over rows, both drawn together.

    A mean over tokens is one, where rows have several: paired where `total` is a difference.

    Args:
        total: One number per row; at least one row.
        count: One number above 0 per row.
        resamples: Of the bootstrap.
        seed: Of the draws.
    """
    both = np.stack([np.asarray(total, np.float64), np.asarray(count, np.float64)])
    rows = both.shape[1]
    rng = np.random.default_rng(seed)
    at_once = max(1, _CELLS_AT_ONCE // rows)
    ratios = []
    for start in range(0, resamples, at_once):
        size = min(at_once, resamples - start)
        above, below = both @ rng.multinomial(rows, np.full(rows, 1 / rows), size=size).T
        ratios.append(above / below)
    above, below = both.sum(axis=1)
    return interval(float(above / below), np.concatenate(ratios))


def _matrix(values: ArrayLike) -> F64:
    matrix = np.asarray(values, np.float64)
    return matrix.reshape(1, -1) if matrix.ndim == 1 else matrix


def _means(sides: list[F64], resamples: int, seed: int) -> Iterator[F64]:
    """Per side the means of resamples, in parts of bounded size; NaN where none has a value."""
    rng = np.random.default_rng(seed)
    rows = sides[0].shape[1]
    at_once = max(1, _CELLS_AT_ONCE // rows)
    for start in range(0, resamples, at_once):
        size = min(at_once, resamples - start)
        weights = rng.multinomial(rows, np.full(rows, 1 / rows), size=size)
        yield np.stack([_weighted(side, weights, rng) for side in sides])


def _weighted(side: F64, weights: np.ndarray, rng: np.random.Generator) -> F64:
    """Mean of one side in each resample, its seeds drawn anew."""
    seeds = len(side)
    drawn = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=len(weights))
    there = np.isfinite(side)
    total = ((drawn @ np.where(there, side, 0.0)) * weights).sum(axis=1)
    number = ((drawn @ there.astype(np.float64)) * weights).sum(axis=1)
    means: F64 = np.divide(total, number, out=np.full(len(total), np.nan), where=number > 0)
    return means
