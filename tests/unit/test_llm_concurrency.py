"""How many requests may be open at once, by what came of those before."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from clear_pipeline.llm.concurrency import Concurrency


class Clock:
    """A clock that is set."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Stream:
    """Requests that fill the width, on a clock of their own."""

    def __init__(self, most: int, first: int = 8) -> None:
        self.clock = Clock()
        self.most = most
        self.concurrency = Concurrency(most, first=first, clock=self.clock)

    def answer(self, count: int, *, latency: float, over: float = 0.0) -> None:
        """So many answers, spread over so many seconds, all places being taken."""

        async def full() -> None:
            gate = asyncio.Event()

            async def wait() -> None:
                async with self.concurrency.slot():
                    await gate.wait()

            async with asyncio.TaskGroup() as group:
                for _ in range(self.most):
                    group.create_task(wait())
                await asyncio.sleep(0)  # all have asked for a place
                for _ in range(count):
                    self.clock.now += over / count
                    self.concurrency.answered(latency)
                gate.set()

        asyncio.run(full())

    def refuse(self, count: int, *, over: float = 0.0) -> None:
        for _ in range(count):
            self.clock.now += over / count
            self.concurrency.refused()

    @property
    def width(self) -> float:
        return self.concurrency.width


def test_the_width_doubles_per_round_until_the_first_refusal() -> None:
    """8 answers open 16 places; the maximum is never exceeded; after a refusal growth is slow."""
    stream = Stream(most=20)
    stream.answer(1, latency=1.0)
    assert stream.width == 9.0
    stream.refuse(1)
    stream.answer(1, latency=1.0)
    assert stream.width == pytest.approx(9.1)
    fast = Stream(most=10)
    fast.answer(8, latency=1.0)
    assert fast.width == 10.0


def test_nothing_grows_while_latency_does() -> None:
    """At eight times the usual latency the width stays; back at the usual, it grows again."""
    stream = Stream(most=64)
    stream.answer(1, latency=1.0)
    stream.answer(1, latency=20.0)  # recent: 1 + 19 / 8 = 3.4 s, more than 2 x 1.01 s
    assert stream.width == 9.0
    for _ in range(20):
        stream.answer(1, latency=1.0)
    assert stream.width > 9.0


def test_idle_places_are_no_reason_to_grow() -> None:
    """Answers that come while places are free open no more of them."""
    concurrency = Concurrency(64, first=8)
    for _ in range(100):
        concurrency.answered(0.1)
    assert concurrency.width == 8.0


def test_refusals_halve_the_width_once_a_second() -> None:
    """Ten refusals and no answer: 8 -> 4, whatever else is refused within the second; then 2."""
    stream = Stream(most=64)
    stream.refuse(30, over=0.9)
    assert stream.width == 8.0
    stream.refuse(1, over=0.2)
    assert stream.width == 4.0
    stream.refuse(30, over=0.9)
    assert stream.width == 4.0
    stream.refuse(1, over=0.2)
    assert stream.width == 2.0


def test_a_cut_goes_down_to_what_the_server_carries() -> None:
    """10 answers of 0.6 s in 1 s, 6 open on average: with most refused, 8 -> 6 and not 4."""
    stream = Stream(most=8)
    stream.refuse(20)
    stream.answer(10, latency=0.6, over=1.0001)
    assert stream.width == pytest.approx(6.0, abs=0.01)


def test_what_came_before_the_first_refusal_tells_nothing() -> None:
    """100 answers of saved-up allowance do not hide that all ten requests after them fail."""
    stream = Stream(most=8)
    stream.answer(100, latency=0.01, over=5.0)
    stream.refuse(11, over=1.2)
    assert stream.width == 4.0


def test_a_few_refusals_cut_nothing() -> None:
    """5 % refused is the price of finding the limit."""
    stream = Stream(most=8)
    for _ in range(20):
        stream.refuse(1)
        stream.answer(19, latency=0.5, over=1.0)
    assert stream.width == 8.0


def test_refusals_that_no_cut_lowers_stop_cutting() -> None:
    """A server that refuses every third request, whatever the load, still has most of the width."""
    stream = Stream(most=8)
    widths = []
    for _ in range(40):  # a second each, the width full of answers of 0.25 s
        answers = max(1, round(stream.width * 4))
        stream.refuse(max(1, answers // 2))
        stream.answer(answers, latency=0.25, over=1.01)
        widths.append(stream.width)
    assert min(widths[10:]) > 3.0
    assert max(widths[20:]) > 6.0


def test_below_a_width_of_one_requests_leave_apart() -> None:
    """One every 0.5 s is refused: 1 -> 0.5 -> 0.25, and at latency 2 s one leaves every 8 s."""
    stream = Stream(most=1, first=1)
    stream.answer(1, latency=2.0)
    assert stream.concurrency.gap() == 0.0
    stream.refuse(35, over=17.5)
    assert stream.width == pytest.approx(0.25)
    assert stream.concurrency.gap() == pytest.approx(8.0)


def test_after_a_refusal_no_herd_leaves() -> None:
    """Width 4, latency 1 s: requests leave 1 / 6 s apart for a minute, then as they come."""
    stream = Stream(most=4)
    stream.answer(4, latency=1.0)
    stream.refuse(1)
    assert stream.concurrency.gap() == pytest.approx(1 / 6)
    stream.clock.now += 60.0
    assert stream.concurrency.gap() == 0.0


def test_a_narrower_width_lets_fewer_in() -> None:
    """Places that are taken stay so; no new one is given before the width allows."""

    async def work() -> list[int]:
        clock = Clock()
        concurrency = Concurrency(4, first=4, clock=clock)
        gates = [asyncio.Event() for _ in range(6)]
        inside: list[int] = []
        four = asyncio.Event()

        async def one(number: int) -> None:
            async with concurrency.slot():
                inside.append(number)
                if len(inside) == 4:
                    four.set()
                await gates[number].wait()

        async with asyncio.TaskGroup() as group:
            for number in range(6):
                group.create_task(one(number))
            await four.wait()
            concurrency.refused()
            clock.now = 2.0
            for _ in range(10):
                concurrency.refused()
            assert concurrency.width == 2.0
            gates[0].set()
            gates[1].set()
            for _ in range(10):
                await asyncio.sleep(0)
            seen = list(inside)
            for gate in itertools.islice(gates, 2, None):
                gate.set()
        return seen

    assert asyncio.run(work()) == [0, 1, 2, 3]
