"""How the parts become one confidence: Chen & Mueller 2023 (arXiv 2308.16175), "BSDetector"."""

from __future__ import annotations

PAPER_K = 5
"""Draws per row."""
PAPER_TEMPERATURE = 1.0
"""Of the draws."""
PAPER_ALPHA = 0.8
"""Weight of semantic agreement against exact match within observed consistency."""
PAPER_BETA = 0.7
"""Weight of observed consistency against self-reflection."""


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
