"""How many requests may be open at once: more while latency allows, fewer after refusals.

Additive increase and multiplicative decrease, as in TCP, with two differences. A cut goes down to
what the server is seen to carry (by Little's law, the requests open on average that got an
answer), and at most by half. And where a quarter fewer requests leave and the share of refusals
is as it was, it is taken for one that no cut can lower: what a server refuses whatever the load
costs no throughput.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Final

import anyio

FIRST: Final = 8
"""Requests open at the start, where nothing is known of the server."""

_LEAST: Final = 1e-3
"""A width below 1 stands for one request at a time with pauses between."""

_GROWTH_PER_S: Final = 0.1
"""Growth after the first refusal, as a part of the width per second."""

_SLOW: Final = 2.0
"""No growth while answers take longer than so many times what they usually take."""

_SETTLE_S: Final = 1.0
"""Shortest time over which a width is judged; an answer's latency, where that is longer."""

_ENOUGH: Final = 30
"""So many outcomes at least tell the share of refusals at a width ..."""

_PLENTY: Final = 10
"""... and so many, if most of them are refusals."""

_TOLERATED: Final = 0.1
"""Share of refusals, beyond those that no cut has lowered and beyond chance, above which the width
is cut."""

_CHANCE: Final = 2.0
"""Standard deviations of a share that chance is given."""

_MOST_BORNE: Final = 0.5
"""No larger share of refusals is ever taken for one that no cut can lower."""

_FADE: Final = 0.98
"""What is left, after a trial without a cut, of the belief that no cut lowers a share."""

_FEWER: Final = 0.75
"""Cuts are judged once no more requests leave than this part of those before ..."""

_HELPED: Final = 1.15
"""... and have helped if the share of answers rose to so many times what it was."""

_HEADROOM: Final = 1.5
"""While much is refused, the width is at most so many times what the server carries, and requests
leave at most so many times as fast as they are answered in the long run."""

_PACED_S: Final = 60.0
"""So long after a refusal requests leave spaced, never as a herd."""

_RECENT: Final = 1 / 8
"""Weight of an answer in the recent latency."""

_DRIFT: Final = 1.01
"""The usual latency rises by so much per answer at most, and falls at once."""


@dataclass
class _Trial:
    """What came of the requests at one width.

    Attributes:
        since: When it began.
        answered: Requests that were answered.
        refused: Requests that were not, because of load.
        seconds: For which the answered ones were open, summed.
    """

    since: float
    answered: int = 0
    refused: int = 0
    seconds: float = 0.0

    @property
    def outcomes(self) -> int:
        """Requests that came to an end."""
        return self.answered + self.refused

    @property
    def share(self) -> float:
        """Share of refusals."""
        return self.refused / self.outcomes

    def exceeds(self, borne: float) -> bool:
        """Whether clearly more is refused than this share and a little."""
        expected = max(borne, _TOLERATED)
        chance = _CHANCE * math.sqrt(expected * (1 - expected) / self.outcomes)
        return self.share > borne + _TOLERATED + chance

    @property
    def tells(self) -> bool:
        """Whether there are enough outcomes to judge by."""
        return self.outcomes >= _ENOUGH or (
            self.outcomes >= _PLENTY and self.share > _MOST_BORNE + _TOLERATED
        )


class _Slot(AbstractAsyncContextManager[None]):
    """A place among the requests that are open."""

    def __init__(self, slots: anyio.CapacityLimiter) -> None:
        self._slots = slots

    async def __aenter__(self) -> None:
        try:
            self._slots.acquire_on_behalf_of_nowait(self)  # a free one needs no turn of the loop
        except anyio.WouldBlock:
            await self._slots.acquire_on_behalf_of(self)

    async def __aexit__(self, *_: object) -> None:
        self._slots.release_on_behalf_of(self)


class Concurrency:
    """The width of the stream of requests to one server.

    Args:
        most: The width never exceeds it, >= 1.
        first: The width at the start; it doubles with every round of answers until the first
            refusal.
        clock: Monotonic seconds.
    """

    def __init__(
        self, most: int, *, first: int = FIRST, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._most = most
        self._clock = clock
        self._width = float(min(first, most))
        self._slots = anyio.CapacityLimiter(int(self._width))
        self._recent: float | None = None
        self._usual = 0.0
        self._was_refused = False
        self._paced_until = 0.0
        self._trial = _Trial(clock())
        self._before_cuts: tuple[float, float] | None = None
        self._borne = 0.0

    @property
    def width(self) -> float:
        """Requests that may be open at once; below 1, the part of the time that one may be."""
        return self._width

    def slot(self) -> AbstractAsyncContextManager[None]:
        """Wait for a place, in order of arrival, and hold it."""
        return _Slot(self._slots)

    def gap(self) -> float:
        """Seconds that two requests must leave apart now.

        After a refusal, half as many again leave per second as the width allows in the long run;
        below a width of 1, exactly as many.
        """
        if self._width >= 1 and self._clock() >= self._paced_until:
            return 0.0
        latency = 1.0 if self._recent is None else self._recent
        return latency / (self._width * min(_HEADROOM, max(1.0, self._width)))

    def answered(self, seconds: float) -> None:
        """An answer came after so many seconds. Called in its slot."""
        recent = seconds if self._recent is None else self._recent
        self._recent = recent + _RECENT * (seconds - recent)
        self._usual = min(self._recent, self._usual * _DRIFT) if self._usual else self._recent
        full = self._slots.borrowed_tokens >= self._slots.total_tokens
        if full and self._recent <= _SLOW * self._usual:
            self._set(self._width + (min(1.0, _GROWTH_PER_S * seconds) if self._was_refused else 1))
        if (now := self._clock()) >= self._trial.since:
            self._trial.answered += 1
            self._trial.seconds += seconds
        self._judge(now)

    def refused(self, *, held_until: float = 0.0) -> None:
        """The server refused a request, or gave no answer in time, because of load.

        Args:
            held_until: No request leaves before; what follows is judged from then on.
        """
        now = max(self._clock(), held_until)
        if not self._was_refused:
            # Before it, an allowance that had been saved up was used; from now on it shows what
            # the server takes in the long run.
            self._was_refused = True
            self._trial = _Trial(now + (self._recent or 0.0))
        self._paced_until = now + _PACED_S
        self._trial.refused += self._clock() >= self._trial.since
        self._judge(now)

    def _judge(self, now: float) -> None:
        """Cut the width if too much is refused at it, and begin the next trial.

        After a cut it begins once the answers to requests that left before have come.
        """
        trial, span = self._trial, self._clock() - self._trial.since
        if span < max(_SETTLE_S, self._recent or 0.0) or not trial.tells:
            return
        carried, per_second = trial.seconds / span, trial.outcomes / span
        if self._before_cuts is not None and per_second <= _FEWER * self._before_cuts[1]:
            if 1 - trial.share < _HELPED * self._before_cuts[0]:
                self._borne = min(trial.share, _MOST_BORNE)
            self._before_cuts = None
        if trial.exceeds(self._borne):
            self._before_cuts = self._before_cuts or (1 - trial.share, per_second)
            self._cut(carried)
            now += self._recent or 0.0
        else:
            self._before_cuts = None
            self._borne *= _FADE
            if trial.share > _TOLERATED:
                self._cut(_HEADROOM * carried)
        self._trial = _Trial(now)

    def _cut(self, width: float) -> None:
        """Narrow to that width, at most by half."""
        self._set(min(self._width, max(self._width / 2, width)))

    def _set(self, width: float) -> None:
        self._width = min(float(self._most), max(_LEAST, width))
        self._slots.total_tokens = max(1, int(self._width))
