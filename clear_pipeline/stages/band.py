"""The undecided band: the rows around a threshold, and the room that their scores may take."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

from clear_pipeline.stages.confidence import Key
from clear_pipeline.stages.ranking import Ranking


@dataclass(frozen=True, slots=True)
class Band:
    """Neighbouring rows of a ranking.

    Attributes:
        ranks: Their places, 0 for the most confident row.
        first: Key of the most confident row of the band.
        last: Key of its least confident row.
        low: Least score that keeps them above all rows below the band, in [0, 1].
        high: Largest score that keeps them below all rows above the band, in [0, 1].
    """

    ranks: range
    first: Key
    last: Key
    low: float
    high: float


def around(kept: int, *, total: int, size: int) -> range:
    """The ranks of the `size` rows around the border of the `kept` first ones of `total`.

    Half of them on either side; near an end the band is shifted inwards, not cut.
    """
    start = min(max(kept - (size + 1) // 2, 0), total - size)
    return range(start, start + size)


def band_around(ranking: Ranking, *, kept: int, share: float) -> Band | None:
    """The band around the border of the `kept` most confident rows.

    Rows of equal confidence that the band's edge would part are left out of it: no score lies
    between them.

    Args:
        ranking: Of all rows; at least one.
        kept: Rows above the threshold, 0 to `len(ranking)`.
        share: Rows of the band / all rows, in (0, 1]; rounded up to whole rows.

    Returns:
        None where the rows at the border share their confidence with more rows than the band holds.
    """
    total, confidences = len(ranking), ranking.ranked
    size = min(math.ceil(Fraction(str(share)) * total), total)
    ranks = around(kept, total=total, size=size)
    start, stop = ranks.start, ranks.stop
    while 0 < start < stop and confidences[start] == confidences[start - 1]:
        start += 1
    while start < stop < total and confidences[stop - 1] == confidences[stop]:
        stop -= 1
    if start == stop or not start <= kept <= stop:
        return None
    first, last = ranking.key(start), ranking.key(stop - 1)
    low, high = 0.0, 1.0
    if stop < total:
        low = _between(float(confidences[stop]), last[0], otherwise=last[0])
    if start > 0:
        high = _between(first[0], float(confidences[start - 1]), otherwise=first[0])
    return Band(ranks=range(start, stop), first=first, last=last, low=low, high=high)


def _between(below: float, above: float, *, otherwise: float) -> float:
    """Half-way between two different scores, where a float lies there."""
    middle = (below + above) / 2
    return middle if below < middle < above else otherwise


def into_band(score: float, *, low: float, high: float) -> float:
    """Map a score in [0, 1] into [low, high]; a larger one never becomes smaller."""
    return min(low + (high - low) * score, high)
