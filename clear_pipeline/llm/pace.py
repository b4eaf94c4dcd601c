"""When the next request may leave: requests and tokens per minute, and what a server holds back.

Rates come from the settings or from the provider's headers. No library of leaky buckets fits:
their rate is fixed when they are made, and they take no correction once a reply has told how many
tokens it really had.
"""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, Protocol, TypeAlias

from clear_pipeline.llm.base import ChatRequest, Usage
from clear_pipeline.llm.settings import ModelSettings


class Response(Protocol):
    """A response of any HTTP library."""

    @property
    def headers(self) -> Mapping[str, str]:
        """By name; case does not matter."""
        ...


Heard: TypeAlias = Callable[[Response], Awaitable[None]]
"""Told of every response."""

_LATE_S: Final = 0.1
"""A request that leaves late by no more than this does not move those after it."""

_RECHECK_S: Final = 1.0
"""A request that waits looks so often whether the rate has changed."""

_LONGEST_GAP_S: Final = 30.0
"""The longest gap between two requests that headers may ask for."""

_JITTER: Final = 0.1
"""Part of a hold by which it may last longer, so that several clients do not return as one."""

_CHARACTERS_PER_TOKEN: Final = 4
_UNITS: Final = {"d": 86_400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "": 1.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|[dhms]|$)")
_EPOCH: Final = 1e6
"""A plain number above it is a date, not a duration."""


class Pace:
    """Lets requests to one model leave in order, evenly spaced.

    Args:
        settings: Rates; where one is None, the provider's headers decide.
        clock: Monotonic seconds.

    Attributes:
        held_until: No request leaves before this moment of the clock.
    """

    def __init__(
        self, settings: ModelSettings, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self._turn = asyncio.Lock()
        self._last = -1e9
        self._lanes = {
            "requests": _Lane(settings.requests_per_minute),
            "tokens": _Lane(settings.tokens_per_minute),
        }
        self.held_until = 0.0

    async def heard(self, response: Response) -> None:
        """Take over the rates that the headers of a response tell."""
        self.learn(response.headers)

    def learn(self, headers: Mapping[str, str]) -> None:
        """Take over the rates that these headers tell."""
        if not any(name.lower().startswith("x-ratelimit-limit-") for name in headers):
            return
        for kind, lane in self._lanes.items():
            if not lane.configured:
                lane.seconds_each = seconds_each(headers, kind, before=lane.seconds_each)

    def hold(self, seconds: float) -> None:
        """Let nothing leave for so many seconds, and a little longer."""
        jittered = seconds * random.uniform(1.0, 1.0 + _JITTER)  # noqa: S311 -- no secret
        self.held_until = max(self.held_until, self._clock() + jittered)

    async def turn(self, tokens: int, gap: Callable[[], float]) -> None:
        """Wait until a request of so many tokens may leave.

        Args:
            tokens: What it will count, about; see `expected_tokens`.
            gap: Seconds since the last request that left, at least.
        """
        async with self._turn:
            while (wait := self._due(gap()) - self._clock()) > 0:  # noqa: ASYNC110 -- rates change
                await asyncio.sleep(min(wait, _RECHECK_S))
            now = self._last = self._clock()
            self._lanes["requests"].take(1, now)
            self._lanes["tokens"].take(tokens, now)

    def correct(self, tokens: int, usage: Usage) -> None:
        """A request that was taken to have so many tokens had those of `usage`."""
        self._lanes["tokens"].taken += usage.prompt + usage.completion - tokens

    def _due(self, gap: float) -> float:
        lanes = (lane.due for lane in self._lanes.values())
        return max(self.held_until, self._last + gap, *lanes)


class _Lane:
    """One quantity with a rate."""

    def __init__(self, per_minute: float | None) -> None:
        self.configured = per_minute is not None
        self.seconds_each = 0.0 if per_minute is None else 60.0 / per_minute
        self.taken = 0.0
        self._left_at = 0.0

    @property
    def due(self) -> float:
        """When what was taken has been worked off."""
        return self._left_at + self.taken * self.seconds_each

    def take(self, amount: int, now: float) -> None:
        self._left_at = self.due if self.due > now - _LATE_S else now
        self.taken = amount


def expected_tokens(request: ChatRequest) -> int:
    """About how many tokens a request counts at the provider, which reserves the whole output."""
    characters = sum(len(message.text) for message in request.messages)
    output = len(request.samples) * request.max_output_tokens
    return characters // _CHARACTERS_PER_TOKEN + output


def seconds_each(headers: Mapping[str, str], kind: str, *, before: float) -> float:
    """Seconds per request or token that the headers of a response ask for; 0 = no limit.

    What remains is spread over the time until the limit is whole again. For a limit that starts
    anew every minute this is exact; one that refills all the time settles half full. Without
    these two, the limit is one per minute.

    Args:
        headers: Of any response, lower-case names: `x-ratelimit-limit-requests` and its kin.
        kind: `requests` or `tokens`.
        before: Returned if the headers do not tell.
    """
    limit = _number(headers.get(f"x-ratelimit-limit-{kind}"))
    if not limit:
        return before
    remaining = _number(headers.get(f"x-ratelimit-remaining-{kind}"))
    reset = duration(headers.get(f"x-ratelimit-reset-{kind}"))
    if remaining is None or reset is None:
        return 60.0 / limit
    # A hundredth of the limit may always be tried: with nothing left, no reply would ever tell
    # that there is more again.
    each = reset / max(remaining, limit / 100, 1.0)
    return min(each, _LONGEST_GAP_S) if kind == "requests" else each


def duration(text: str | None) -> float | None:
    """Seconds of a duration such as `6m0s`, `12ms` or `1.5`; None for anything else."""
    parts = _DURATION.findall(text or "")
    if not parts or "".join(n + unit for n, unit in parts) != text:
        return None
    seconds = sum(float(n) * _UNITS[unit] for n, unit in parts)
    return seconds if seconds < _EPOCH else None


def _number(text: str | None) -> float | None:
    try:
        return max(0.0, float(text or ""))
    except ValueError:
        return None
