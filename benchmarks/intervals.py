"""95 % intervals of shares that were counted, two-sided (Clopper & Pearson 1934)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from scipy.stats import beta

Interval: TypeAlias = tuple[float, float]


def clopper_pearson(found: float, trials: float) -> Interval:
    """Of k found in n independent trials, neither of which has to be whole; n > 0."""
    low = beta.ppf(0.025, found, trials - found + 1) if found else 0.0
    high = beta.ppf(0.975, found + 1, trials - found) if found < trials else 1.0
    return float(low), float(high)


def clustered(counts: Sequence[tuple[int, int]]) -> Interval:
    """Of the share found among all trials, where those of one row are not independent.

    The unit is the trial; the rows are what is independent. The trials are worth their number over
    the design effect, the variance of the share over rows against that of as many unrelated trials
    (Korn & Graubard 1998). Where none is found, or all are, nothing tells how alike those of a row
    are, and each row counts once: the share of trials is at most the share of rows with any
    found, whose exact interval this is. A single one found must not make surer than none, so the
    upper end never lies below that of none found, nor the lower end above that of all.

    Args:
        counts: Per row: found, trials (>= 1). At least one row.
    """
    found, trials = np.array(counts, np.float64).T
    rows, total = len(counts), float(trials.sum())
    share = float(found.sum()) / total
    of_none, of_all = clopper_pearson(0, rows), clopper_pearson(rows, rows)
    if share == 0:
        return of_none
    if share == 1:
        return of_all
    effect = 1.0
    if rows > 1:
        residual = float(((found - share * trials) ** 2).sum())
        variance = rows / (rows - 1) * residual / total**2
        effect = max(1.0, variance / (share * (1 - share) / (total - 1)))
    low, high = clopper_pearson(share * total / effect, total / effect)
    return min(low, of_all[0]), max(high, of_none[1])


def shown(found: int, trials: int, interval: Interval | None = None) -> str:
    """k/n with its interval: that of independent trials unless another is given."""
    if trials == 0:
        return "0/0"
    low, high = interval or clopper_pearson(found, trials)
    return f"{found}/{trials} = {found / trials:.2f} [{low:.2f}, {high:.2f}]"
