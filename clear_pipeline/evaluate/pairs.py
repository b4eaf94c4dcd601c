"""How well a score tells spoiled rows from their own originals, which may be bad themselves.

With a share p of the originals as bad as the spoiled rows, an AUROC of A is seen as
(1 - p) A + p / 2: against a bad original a spoiled row wins every other time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from clear_pipeline.calibration.reliability import wilson
from clear_pipeline.evaluate.statistics import F64, Estimate, interval

Sight: TypeAlias = Literal["sees it", "sees it weakly", "blind", "inverted", "too few rows to say"]

MIN_PAIRS = 10
"""Fewer pairs say nothing, however one-sided they are."""
CLEAR_SIGHT = 0.75
"""Who sees a fault ranks at least three of four spoiled rows below their originals."""
CHANCE = 0.5
_DOUBT = 0.05
"""Probability that `noise_bound` lies below the truth, at most."""
_QUANTILES = 1000
"""Points at which the distribution of an order statistic is taken."""


@dataclass(frozen=True, slots=True)
class PairFigures:
    """One score on `n` rows and their spoiled versions. All figures are in [0, 1], 0.5 is chance.

    Attributes:
        n: Pairs.
        win_rate: P(spoiled scores below its own original), ties counting half.
        auroc: P(a spoiled row scores below any of the originals), ties counting half; as seen.
        corrected: The AUROC against good originals only, see `corrected_auroc`.
    """

    n: int
    win_rate: Estimate
    auroc: Estimate
    corrected: Estimate


def paired(
    spoiled: ArrayLike,
    originals: ArrayLike,
    *,
    noise_rate: float = 0.0,
    resamples: int = 1000,
    seed: int = 0,
) -> PairFigures:
    """Compare spoiled rows with their originals.

    Args:
        spoiled: One finite score per spoiled row; at least one.
        originals: The score of each one's own original, in the same order.
        noise_rate: p, share of the originals that are bad themselves, in [0, 1).
        resamples: Bootstrap resamples of whole pairs.
        seed: Of the draws.

    Raises:
        ValueError: No pairs, lengths that differ, scores that are not finite, or p out of range.
    """
    low, high = np.asarray(spoiled, np.float64), np.asarray(originals, np.float64)
    if low.shape != high.shape or low.ndim != 1 or low.size == 0:
        raise ValueError(f"{low.size} spoiled rows for {high.size} originals")
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        raise ValueError("scores must be finite")
    n = low.size
    wins = (low[:, None] < high) + (low[:, None] == high) / 2
    drawn = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=resamples)
    win_rates = drawn @ np.diagonal(wins) / n
    aurocs = ((drawn @ wins) * drawn).sum(axis=1) / n**2
    auroc = float(wins.mean())
    return PairFigures(
        n=n,
        win_rate=interval(float(np.diagonal(wins).mean()), win_rates),
        auroc=interval(auroc, aurocs),
        corrected=interval(
            float(corrected_auroc(auroc, noise_rate)), corrected_auroc(aurocs, noise_rate)
        ),
    )


def corrected_auroc(seen: ArrayLike, noise_rate: float) -> F64:
    """Solve seen = (1 - p) A + p / 2 for A; figures that no A explains become 0 or 1.

    Args:
        seen: AUROCs against originals of which the share p is bad.
        noise_rate: p, in [0, 1).

    Raises:
        ValueError: p is out of range.
    """
    if not 0 <= noise_rate < 1:
        raise ValueError(f"the noise rate must be in [0, 1), got {noise_rate}")
    exact = (np.asarray(seen, np.float64) - noise_rate / 2) / (1 - noise_rate)
    return np.clip(exact, 0.0, 1.0)


def noise_bound(spoiled: ArrayLike, originals: ArrayLike) -> float:
    """At most this share of the originals is as bad as the spoiled rows: a 95 % upper bound.

    Take t, the middle one of n spoiled scores, the k-th from below. Of all that scores like them a
    share B lies at t or below, where B follows Beta(k, n - k + 1) or is larger, if scores are tied.
    So if a share p of the originals is as bad, at least p B of the originals lie there, good ones
    apart. The bound is the p at which as few of them as were found, or fewer, have a probability of
    5 %, over B and the draw of the originals. Not an estimate: for a score that is blind it is 1.

    Args:
        spoiled: Scores of spoiled rows, at least one.
        originals: Scores of originals, at least one.

    Returns:
        A share in [0, 1].
    """
    from scipy.optimize import brentq
    from scipy.special import bdtr, betaincinv

    scores = np.sort(np.asarray(spoiled, np.float64))
    n, k = len(scores), (len(scores) + 1) // 2
    others = np.asarray(originals, np.float64)
    below = float((others <= scores[k - 1]).sum())
    quantiles = (np.arange(_QUANTILES) + 0.5) / _QUANTILES
    shares = betaincinv(k, n - k + 1, quantiles)

    def doubt(rate: float) -> float:
        return float(bdtr(below, len(others), rate * shares).mean()) - _DOUBT

    return 1.0 if doubt(1.0) >= 0 else float(brentq(doubt, 0.0, 1.0))


def sight(n: int, win_rate: Estimate) -> Sight:
    """What an interval of the win rate says; the rule behind the words.

    With fewer than 10 pairs nothing. Otherwise: `sees it` if all of the interval is at 0.75 or
    above, `sees it weakly` if all of it is above 0.5, `inverted` if all of it is below 0.5,
    `blind` if it holds 0.5 and ends below 0.75, and nothing if it holds both. The interval is that
    of the bootstrap, widened to Wilson's (1927): ten wins of ten do not prove an eleventh.
    """
    if n < MIN_PAIRS:
        return "too few rows to say"
    few_low, few_high = wilson(win_rate.value, n)
    low, high = min(win_rate.low, few_low), max(win_rate.high, few_high)
    if low >= CLEAR_SIGHT:
        return "sees it"
    if low > CHANCE:
        return "sees it weakly"
    if high < CHANCE:
        return "inverted"
    return "blind" if high < CLEAR_SIGHT else "too few rows to say"
