"""How the parts become one confidence: Chen & Mueller 2023 (arXiv 2308.16175), "BSDetector"."""

from __future__ import annotations

import math
from collections.abc import Mapping

PAPER_K = 5
"""Draws per row."""
PAPER_TEMPERATURE = 1.0
"""Of the draws."""
PAPER_ALPHA = 0.8
"""Weight of semantic agreement against exact match within observed consistency."""
PAPER_BETA = 0.7
"""Weight of observed consistency against self-reflection."""

CLOSEST = 1e-6
"""How near to 0 or 1 a probability may come before its log-odds are taken: one token's
probability carries no more digits than this."""


def observed(agreement: float, match: float, *, alpha: float) -> float:
    """One draw: o = alpha * s + (1 - alpha) * r, all in [0, 1]."""
    return alpha * agreement + (1 - alpha) * match


def combine(consistency: float | None, reflection: float | None, *, beta: float) -> float | None:
    """C = beta * O + (1 - beta) * S, in [0, 1]; higher is more trustworthy.

    A part that is None was not asked for and the other stands alone; None if both are.
    """
    if consistency is None or reflection is None:
        return reflection if consistency is None else consistency
    return beta * consistency + (1 - beta) * reflection


def share_of_draws(consistency: float, draws: int) -> float:
    """Consistency over `draws` >= 1 draws, drawn in from 0 and 1: (k O + 1/2) / (k + 1).

    Five draws that all agree do not prove that a sixth would: the estimate of a proportion under
    Jeffreys' prior keeps its log-odds finite.
    """
    return (draws * consistency + 0.5) / (draws + 1)


def weighted_log_odds(parts: Mapping[str, float], weights: Mapping[str, float]) -> float:
    """The confidence whose log-odds are the weighted mean of those of the parts, in [0, 1].

    C = sigmoid(sum_p w_p logit(p) / sum_p |w_p|). A negative weight turns a part that is high for
    bad rows.

    Args:
        parts: Each in [0, 1]; those within `CLOSEST` of 0 or 1 count as that close. A part that
            is alone is the confidence as it is.
        weights: By the name of a part, at least one other than 0; all are among `parts`.
    """
    if len(weights) == 1 and min(weights.values()) > 0:
        return parts[next(iter(weights))]
    total = math.fsum(abs(weight) for weight in weights.values())
    mean = math.fsum(w * _logit(parts[name]) for name, w in weights.items()) / total
    return 1 / (1 + math.exp(-mean))


def _logit(p: float) -> float:
    inside = min(max(p, CLOSEST), 1 - CLOSEST)
    return math.log(inside) - math.log1p(-inside)
