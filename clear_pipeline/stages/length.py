"""Whether the confidence goes by the length of a response: then good rows go for their length."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

MIN_ROWS: Final = 50
"""Fewer rows say too little about a correlation."""
STRONG: Final = 0.5
"""A rank correlation from which on the length decides much of what is kept."""


MOST_ROWS: Final = 200_000
"""Of more rows every second, third, ... is looked at: more would say the same."""


def length_note(
    confidences: NDArray[np.float64], lengths: NDArray[np.int32], *, kept: NDArray[np.bool_]
) -> str | None:
    """What to tell where confidence and length go together; None where they hardly do.

    Args:
        confidences: Of the rows that the filter ranks.
        lengths: Characters of their responses, in the same order.
        kept: Which of them stay.
    """
    if len(confidences) < MIN_ROWS or kept.all():
        return None
    step = -(-len(confidences) // MOST_ROWS)
    correlation = _rank_correlation(confidences[::step], lengths[::step])
    if abs(correlation) < STRONG:
        return None
    stay, go = (np.median(part) for part in (lengths[kept], lengths[~kept]))
    way = "falls" if correlation < 0 else "grows"
    return (
        f"filter: the confidence {way} with the length of the response (rank correlation "
        f"{correlation:+.2f}): half of those kept have up to {stay:,.0f} characters, of the others "
        f"up to {go:,.0f}. Read some of either before you train; docs/scoring.md says what goes by "
        "the length and what does not"
    )


def _rank_correlation(first: NDArray[np.float64], second: NDArray[np.int32]) -> float:
    """Spearman's, in [-1, 1]; 0 where one of them is the same in every row."""
    if not (np.ptp(first) and np.ptp(second)):
        return 0.0
    from scipy.stats import spearmanr  # a second of import, for runs that filter alone

    return float(spearmanr(first, second).statistic)
