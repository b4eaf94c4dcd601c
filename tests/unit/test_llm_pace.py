"""When the next request may leave."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from typing import Any

import pytest

from clear_pipeline.llm.base import ChatRequest, Usage
from clear_pipeline.llm.pace import Pace, duration, expected_tokens, seconds_each
from clear_pipeline.llm.settings import ModelSettings
from clear_pipeline.schema import Message


class Time:
    """A clock that moves only while somebody sleeps on it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr("clear_pipeline.llm.pace.asyncio.sleep", self.sleep)

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    return Time(monkeypatch)


def departures(
    pace: Pace, time: Time, tokens: list[int], gap: Callable[[], float] = lambda: 0.0
) -> list[float]:
    """When requests leave that all came at once, in seconds from now."""

    async def leave() -> list[float]:
        begun, left = time(), []
        for count in tokens:
            await pace.turn(count, gap)
            left.append(round(time() - begun, 3))
        return left

    return asyncio.run(leave())


def paced(time: Time, **rates: Any) -> Pace:  # noqa: ANN401
    return Pace(ModelSettings(model="m", **rates), clock=time)


def test_without_a_rate_all_leave_at_once(time: Time) -> None:
    """No settings and no headers: no limit."""
    assert departures(paced(time), time, [10, 10, 10]) == [0.0, 0.0, 0.0]


def test_requests_per_minute_are_spread_evenly(time: Time) -> None:
    """30 a minute: one every two seconds, the first at once."""
    assert departures(paced(time, requests_per_minute=30), time, [1] * 4) == [0.0, 2.0, 4.0, 6.0]


def test_tokens_weigh(time: Time) -> None:
    """6,000 tokens a minute: after 200 tokens 2 s, after 50 half a second."""
    pace = paced(time, tokens_per_minute=6000)
    assert departures(pace, time, [200, 50, 1]) == [0.0, 2.0, 2.5]


def test_what_a_reply_really_had_moves_the_next_one(time: Time) -> None:
    """Taken for 200 tokens, it had 100: the next leaves after 1 s."""
    pace = paced(time, tokens_per_minute=6000)
    departures(pace, time, [200])
    pace.correct(200, Usage(prompt=80, completion=20))
    assert departures(pace, time, [1]) == [1.0]


def test_a_hold_holds_everything_and_a_gap_follows(time: Time) -> None:
    """After 5 s, or up to a tenth more, requests leave half a second apart."""
    pace = paced(time)
    pace.hold(5.0)
    left = departures(pace, time, [1, 1, 1], gap=lambda: 0.5)
    assert 5.0 <= left[0] <= 5.5
    assert [round(b - a, 3) for a, b in itertools.pairwise(left)] == [0.5, 0.5]


def test_headers_set_the_rate_and_settings_overrule_them(time: Time) -> None:
    """60 of 3,000 left for 30 s: one every 0.5 s."""
    headers = {
        "x-ratelimit-limit-requests": "3000",
        "x-ratelimit-remaining-requests": "60",
        "x-ratelimit-reset-requests": "30s",
    }
    told = paced(time)
    told.learn(headers)
    assert departures(told, time, [1, 1, 1]) == [0.0, 0.5, 1.0]
    own = paced(time, requests_per_minute=6)
    own.learn(headers)
    assert departures(own, time, [1, 1]) == [0.0, 10.0]


@pytest.mark.parametrize(
    ("remaining", "reset", "expected"),
    [
        ("50", "10s", 0.2),  # a tenth of a minute's window left for half of its requests
        ("0", "10s", 10.0),  # a hundredth of 100 may be tried
        (None, None, 0.6),  # 100 per minute
        ("100", "0s", 0.0),  # untouched
        ("0", "2h", 30.0),  # never so long that nothing is heard any more
        ("50", "2026-01-01T00:00:00Z", 0.6),
    ],
)
def test_seconds_each(remaining: str | None, reset: str | None, expected: float) -> None:
    """What remains is spread over the time until the limit is whole again."""
    given = {"limit": "100", "remaining": remaining, "reset": reset}
    headers = {f"x-ratelimit-{k}-requests": v for k, v in given.items() if v is not None}
    assert seconds_each(headers, "requests", before=9.0) == pytest.approx(expected)


def test_other_headers_change_nothing() -> None:
    """Without a limit, what was known stays."""
    assert seconds_each({"x-ratelimit-limit-tokens": "5"}, "requests", before=9.0) == 9.0
    assert seconds_each({"x-ratelimit-limit-requests": "many"}, "requests", before=9.0) == 9.0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("6m0s", 360.0), ("12ms", 0.012), ("2m59.56s", 179.56), ("1.5", 1.5), ("1h2m", 3720.0),
     ("0s", 0.0), ("", None), (None, None), ("soon", None), ("1x", None), ("1764133200", None)],
)  # fmt: skip
def test_durations(text: str | None, seconds: float | None) -> None:
    """As Go prints them, or plain seconds; dates are none."""
    assert duration(text) == (None if seconds is None else pytest.approx(seconds))


def test_expected_tokens() -> None:
    """A quarter of 40 characters, and two answers of up to 5 tokens."""
    request = ChatRequest((Message("user", "x" * 40),), 5, 0.0, samples=range(2))
    assert expected_tokens(request) == 20
