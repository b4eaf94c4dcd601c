"""Whether the confidence goes by the length of a response: then good rows go for their length."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Final

MIN_ROWS: Final = 50
"""Fewer rows say too little about a correlation."""
STRONG: Final = 0.5
"""A rank correlation from which on the length decides much of what is kept."""


def length_note(confidences: Sequence[float], lengths: Sequence[int], *, kept: int) -> str | None:
    """What to tell where confidence and length go together; None where they hardly do.

    Args:
        confidences: Of the rows that the filter ranks, the largest first.
        lengths: Characters of their responses, in the same order.
        kept: How many of the first ones stay.
    """
    if len(confidences) < MIN_ROWS or kept == len(confidences):
        return None
    correlation = _rank_correlation(confidences, lengths)
    if abs(correlation) < STRONG:
        return None
    stay, go = (statistics.median(part) for part in (lengths[:kept], lengths[kept:]))
    way = "falls" if correlation < 0 else "grows"
    return (
        f"filter: the confidence {way} with the length of the response (rank correlation "
        f"{correlation:+.2f}): half of those kept have up to {stay:,.0f} characters, of the others "
        f"up to {go:,.0f}. Read some of either before you train; docs/scoring.md says what goes by "
        "the length and what does not"
    )


def _rank_correlation(first: Sequence[float], second: Sequence[float]) -> float:
    """Spearman's, in [-1, 1]; 0 where one of them is the same in every row."""
    if len(set(first)) == 1 or len(set(second)) == 1:
        return 0.0
    from scipy.stats import spearmanr  # a second of import, for runs that filter alone

    return float(spearmanr(first, second).statistic)
