"""Caps: what is reserved, what is settled, who waits and who is refused."""

import asyncio
import json
import logging
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from clear_pipeline.cli.caps import with_cap
from clear_pipeline.config import build_config
from clear_pipeline.errors import (
    BudgetExceededError,
    CallError,
    ConfigError,
    UnwritableError,
    UsageError,
)
from clear_pipeline.llm.base import ChatRequest, Choice, Usage
from clear_pipeline.llm.budget import Account, Budget, spent_words
from clear_pipeline.llm.budgeted import Budgeted
from clear_pipeline.llm.caps import cap_shown, cap_typed
from clear_pipeline.llm.meter import Amount, Meter, Totals
from clear_pipeline.llm.scripted import ScriptedChat
from clear_pipeline.llm.settings import BudgetSettings, Prices
from clear_pipeline.llm.spend import Spend
from clear_pipeline.llm.spend_file import SpendFile
from clear_pipeline.llm.wire import TEMPLATE_TOKENS, usage_bound
from clear_pipeline.schema import Message

PRICES = Prices(input=2.0, cached=0.5, cache_write=2.5, output=8.0)
TEN = Usage(prompt=8, completion=2)
"""Ten tokens: 8 x 2.5 (the dearest kind of prompt) + 2 x 8 dollars per million at most."""


def test_bound_is_the_bytes_of_the_body_and_all_that_may_be_written() -> None:
    """JSON and room for the template, per sample; and the token limit, per sample."""
    body = {"messages": [{"role": "user", "content": "how?"}], "max_tokens": 4}
    text = '{"messages":[{"role":"user","content":"how?"}],"max_tokens":4}'
    assert usage_bound(body) == Usage(prompt=len(text) + TEMPLATE_TOKENS, completion=4)
    tripled = len(text) + len(',"n":3') + TEMPLATE_TOKENS
    assert usage_bound({**body, "n": 3}) == Usage(prompt=3 * tripled, completion=12)


@pytest.mark.parametrize(
    "more",
    [{"tools": [{"a": 1}]}, {"response_format": {"a": 1}}, {"messages": [{"tool_calls": [1]}]}],
)
def test_bound_has_room_for_indents_where_a_template_may_write_them(more: dict[str, Any]) -> None:
    """Tools, schemas and calls are counted as indented JSON, four spaces a level."""
    body = {"messages": [{"role": "user", "content": "how?"}], **more}
    text = json.dumps(body, indent=4)
    assert usage_bound(body).prompt == len(text) + TEMPLATE_TOKENS


@pytest.mark.parametrize(("text", "bytes_"), [("é", 3), ("각", 9), ("ﷺ", 33), ("\U0001d400", 4)])
def test_bound_holds_for_tokenizers_that_decompose(text: str, bytes_: int) -> None:
    """One character may become up to eleven times its bytes; the larger form counts."""
    plain, other = ({"content": content} for content in ("", text))
    assert usage_bound(other).prompt - usage_bound(plain).prompt == bytes_


def test_text_that_cannot_be_sent_has_a_bound() -> None:
    """A lone surrogate is refused by the client, as a failure of its row."""
    assert usage_bound({"content": "\ud800"}).prompt > TEMPLATE_TOKENS


def in_loop(
    caps: BudgetSettings,
    work: Callable[[Budget, Account], Awaitable[None]],
    *,
    prices: Prices | None = PRICES,
) -> Totals:
    """Work with a budget in memory; returns what it came to."""

    async def session() -> Totals:
        budget = Budget(caps, Spend())
        await work(budget, budget.account("m", prices, Meter()))
        return budget.spend.totals().get("m", Totals())

    return asyncio.run(session())


@pytest.mark.parametrize(
    ("caps", "cap", "needed"),
    [
        (BudgetSettings(max_calls=2), "max_calls", 3),
        (BudgetSettings(max_tokens=15), "max_tokens", 6 + 10),
        (BudgetSettings(max_usd=50e-6), "max_usd", 24e-6 + 36e-6),
    ],
)
def test_stops_before_the_call_that_may_pass_a_cap(
    caps: BudgetSettings, cap: str, needed: float
) -> None:
    """Settled calls count as billed, the next one at its bound: 10 tokens, 36 millionths."""
    bills = {
        "max_calls": [Usage(prompt=1, completion=1)] * 2,
        "max_tokens": [Usage(prompt=5, completion=1)],
        "max_usd": [Usage(prompt=4, completion=2)],
    }

    async def work(budget: Budget, account: Account) -> None:
        for bill in bills[cap]:
            async with account.request(TEN) as request:
                request.settle(bill)
        with pytest.raises(BudgetExceededError, match=f"stopped by {cap}") as stop:
            async with account.request(TEN):
                raise AssertionError("sent")
        assert stop.value.cap == cap
        assert stop.value.limit == getattr(caps, cap)
        assert stop.value.needed == pytest.approx(needed)

    in_loop(caps, work)


def test_one_waits_while_the_bill_of_another_may_leave_room() -> None:
    """Of 15 tokens, 10 are held; the second call waits, and goes when the first took only 3."""

    async def work(budget: Budget, account: Account) -> None:
        sent: list[str] = []
        answer = asyncio.Event()

        async def first() -> None:
            async with account.request(TEN) as request:
                sent.append("first")
                await answer.wait()
                request.settle(Usage(prompt=2, completion=1))

        async def second() -> None:
            async with account.request(TEN) as request:
                sent.append("second")
                request.settle(Usage(prompt=8, completion=2))

        tasks = [asyncio.create_task(first()), asyncio.create_task(second())]
        for _ in range(10):
            await asyncio.sleep(0)
        assert sent == ["first"]
        answer.set()
        await asyncio.gather(*tasks)
        assert sent == ["first", "second"]

    totals = in_loop(BudgetSettings(max_tokens=15), work)
    assert totals.usage == Usage(prompt=10, completion=3)


def test_small_calls_pass_a_large_one_that_waits() -> None:
    """What fits goes on, whatever stands before it; all else is refused when nothing is open."""

    async def work(budget: Budget, account: Account) -> None:
        answered: list[str] = []

        async def ask(name: str, prompt: int) -> None:
            async with account.request(Usage(prompt=prompt)) as request:
                answered.append(name)
                request.settle(Usage(prompt=prompt))

        asked = [("large", 90), ("small", 5), ("larger", 95), ("tiny", 4)]
        ends = await asyncio.gather(*(ask(*each) for each in asked), return_exceptions=True)
        # 90 fits first, then 5 and 4; 95 waits and is refused.
        assert answered == ["large", "small", "tiny"]
        assert [type(end) for end in ends] == [
            type(None), type(None), BudgetExceededError, type(None)
        ]  # fmt: skip

    assert in_loop(BudgetSettings(max_tokens=99), work).usage.prompt == 99


def test_after_a_refusal_nothing_more_is_sent() -> None:
    """A stage that is being stopped sends nothing whose answer it would not take."""

    async def work(budget: Budget, account: Account) -> None:
        for most in (Usage(prompt=11), Usage(prompt=1)):
            with pytest.raises(BudgetExceededError):
                async with account.request(most):
                    raise AssertionError("sent")

    assert in_loop(BudgetSettings(max_tokens=10), work) == Totals()


def test_what_may_have_been_billed_counts_at_its_bound() -> None:
    """Failed, unsettled or cancelled in flight: at most; refused: a call for nothing."""

    async def work(budget: Budget, account: Account) -> None:
        with pytest.raises(CallError):
            async with account.request(TEN):
                raise CallError("timeout", "no answer", transient=True)
        async with account.request(TEN) as request:
            request.refused()
        async with account.request(TEN) as request:
            request.settle(Usage())  # a server that counts nothing
        flying = asyncio.Event()

        async def fly() -> None:
            async with account.request(TEN):
                flying.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(fly())
        await flying.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    totals = in_loop(BudgetSettings(), work)
    assert totals.requests == 4
    assert totals.unaccounted == Amount(3, 30, 3 * 36_000)
    assert (totals.usage, totals.usd) == (Usage(), 0.0)
    assert totals.spent == Amount(4, 30, 108_000)


def test_cancelled_before_it_was_sent_costs_nothing() -> None:
    """Neither while it waits nor in the moment in which it is granted."""

    async def work(budget: Budget, account: Account) -> None:
        async def ask() -> None:
            async with account.request(TEN):
                raise AssertionError("sent")

        for turns in range(1, 4):
            task = asyncio.create_task(ask())
            for _ in range(turns):
                await asyncio.sleep(0)
                if budget.spend.open:
                    break  # granted, and not yet told so
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert task.cancelled()
            assert budget.spend.open == 0

    assert in_loop(BudgetSettings(), work) == Totals()


def test_a_bill_above_its_bound_is_learned_from(caplog: pytest.LogCaptureFixture) -> None:
    """The excess is reserved from then on, and the user is told that a cap may be passed."""

    async def work(budget: Budget, account: Account) -> None:
        async with account.request(TEN) as request:
            request.settle(Usage(prompt=13, completion=2))
        assert "13 prompt" in caplog.text
        async with account.request(TEN):
            assert budget.spend.committed.tokens == 15 + 10 + 5

    with caplog.at_level(logging.WARNING):
        in_loop(BudgetSettings(max_tokens=1_000), work)


def test_bills_above_their_bounds_are_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """Each of three is 1 token above what the one before taught; one warning for the model."""

    async def work(_: Budget, account: Account) -> None:
        for excess in (1, 2, 3):
            async with account.request(TEN) as request:
                request.settle(Usage(prompt=TEN.prompt + excess, completion=0))

    with caplog.at_level(logging.WARNING):
        in_loop(BudgetSettings(max_tokens=1_000), work)
    assert len(caplog.records) == 1


def test_a_full_disk_is_told_to_those_who_wait(tmp_path: Path) -> None:
    """A record that cannot be written lets no request out: here its table is gone."""

    async def session() -> None:
        spend = SpendFile(tmp_path / "s", earlier={})
        account = Budget(BudgetSettings(), spend).account("m", None, Meter())
        with sqlite3.connect(tmp_path / "s") as other:
            other.execute("DROP TABLE requests")
        other.close()
        with pytest.raises(UnwritableError, match="no such table"):
            async with account.request(TEN):
                raise AssertionError("sent")
        spend.close()

    asyncio.run(session())


def test_dollars_cannot_be_capped_where_the_price_is_unknown() -> None:
    """Refused before any call, with a way to give the price; a model of one's own costs 0."""
    unknown = {"base_url": "https://models.example.com/v1", "model": "homegrown"}
    flags = {"models": {"scorer": unknown}, "budget": {"max_usd": 1.0}}
    with pytest.raises(ConfigError, match=r"homegrown: the price is not known.*price_per_mtok"):
        build_config(flags=flags, preset="fast")
    build_config(flags={**flags, "models": {"scorer": {"model": "smollm2-135m"}}})
    with pytest.raises(UsageError, match="max_tokens or max_calls"):
        Budget(BudgetSettings(max_usd=0.0), Spend()).account("given", None, Meter())


def test_a_given_model_is_one_call_per_question() -> None:
    """Billed by the usage of its answer; a refusal is free, an outage counts at its bound."""
    request = ChatRequest((Message("user", "two words"),), 4, 0.0)
    kinds = iter(["bad_request", "outage"])

    def script(_request: ChatRequest, _sample: int) -> Choice:
        if kind := next(kinds, None):
            raise CallError(kind, "no", transient=False)
        return Choice("yes", "stop")

    async def work(budget: Budget, account: Account) -> None:
        model = Budgeted(ScriptedChat(script), account)
        for _ in range(2):
            with pytest.raises(CallError):
                await model.complete(request)
        await model.complete(request)

    totals = in_loop(BudgetSettings(), work, prices=None)
    assert (totals.requests, totals.usage) == (3, Usage(prompt=2, completion=1))
    assert totals.unaccounted.calls == 1
    assert totals.unaccounted.tokens > TEMPLATE_TOKENS + 4


def test_spend_is_shown_beside_its_caps() -> None:
    """All that counts, the cap where there is one, and what of it is unaccounted."""
    totals = Totals(requests=1_002, cached_samples=3, usage=Usage(prompt=4_000, completion=50),
                    usd=0.5, unaccounted=Amount(2, 950, 250_000_000))  # fmt: skip
    caps = BudgetSettings(max_usd=5, max_calls=2_000)
    assert spent_words([totals], caps) == (
        "1,002 of 2,000 calls, 3 answers from the cache, 5,000 tokens, $0.7500 of $5.00 "
        "(2 calls unaccounted: at most 950 tokens, $0.2500)"
    )
    assert spent_words([Totals(requests=1)], BudgetSettings()) == "1 call, 0 tokens"
    assert spent_words([], BudgetSettings(max_usd=0.0025)).endswith("$0.0000 of $0.0025")


@pytest.mark.parametrize(
    ("cap", "value", "shown", "typed"),
    [
        ("max_usd", 2.5, "$2.50", "2.50"),
        ("max_usd", 1_000.0, "$1,000.00", "1000.00"),
        ("max_usd", 0.00001, "$0.00001", "0.00001"),
        ("max_usd", 1.125, "$1.125", "1.125"),
        ("max_tokens", 17_000, "17,000", "17000"),
        ("max_calls", 0, "0", "0"),
    ],
)
def test_a_cap_is_shown_in_full(cap: str, value: float, shown: str, typed: str) -> None:
    """In cents where it is whole cents, else with every digit; tokens and calls as they are."""
    assert cap_shown(cap, value) == shown
    assert cap_typed(cap, value) == typed


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["run", "d", "--max-usd", "5", "--yes"], ["run", "d", "--yes"]),
        (["run", "--max-usd=5", "d"], ["run", "d"]),
        (["run", "d", "--set", "budget.max_usd=5"], ["run", "d"]),
        (["run", "d", "--set=budget.max_usd=5", "--set", "a=1"], ["run", "d", "--set", "a=1"]),
        (["run", "d", "--config", "c.yaml"], ["run", "d", "--config", "c.yaml"]),
    ],
)
def test_the_next_command_has_a_higher_cap(words: list[str], expected: list[str]) -> None:
    """The old cap goes, however it was given; the new one is twice it, rounded up to two digits."""
    error = BudgetExceededError("stop", cap="max_usd", limit=5.001, needed=5.2)
    assert with_cap(words, error.cap, error.enough) == [*expected, "--max-usd", "11.00"]


@pytest.mark.parametrize(
    ("done", "left", "cap"),
    [
        (10, 90, "1200"),  # 100 + 1.2 * 100 / 10 * 90 = 1180
        (90, 10, "200"),  # 100 + 1.2 * 100 / 90 * 10 = 113.3, and twice the old is more
        (0, 100, "200"),  # nothing to go by
    ],
)
def test_the_next_cap_is_enough_for_the_rows_left(done: int, left: int, cap: str) -> None:
    """As many calls per row as so far, and a fifth more; at least twice the old cap."""
    stopped = BudgetExceededError("stop", cap="max_calls", limit=100, needed=101, spent=100)
    error = stopped.with_work_left("rows", rows_done=done, rows_left=left)
    assert with_cap(["run"], error.cap, error.enough) == ["run", "--max-calls", cap]


def test_what_is_lost_of_a_free_model_is_shown_for_a_cap_alone() -> None:
    """No dollars hang on it; tokens do where they are capped."""
    totals = Totals(requests=2, usage=Usage(prompt=9), usd=0.0, unaccounted=Amount(1, 905, 0))
    assert spent_words([totals], BudgetSettings()) == "2 calls, 9 tokens, $0.0000"
    assert spent_words([totals], BudgetSettings(max_tokens=1_000)) == (
        "2 calls, 914 of 1,000 tokens, $0.0000 (1 call unaccounted: at most 905 tokens)"
    )


def test_what_is_lost_at_an_unknown_price_is_shown() -> None:
    """A free model beside it makes it no free one, nor does a priced one tell its price."""
    free = Totals(requests=2, usd=0.0, unaccounted=Amount(1, 905, 0))
    unknown = Totals(requests=1, unaccounted=Amount(1, 500, 0))
    paid = Totals(requests=1, usd=0.0, unaccounted=Amount(1, 40, 250_000_000))
    assert spent_words([free, unknown], BudgetSettings()) == (
        "3 calls, 500 tokens, $0.0000 (1 call unaccounted: at most 500 tokens)"
    )
    assert spent_words([free, paid], BudgetSettings()) == (
        "3 calls, 40 tokens, $0.2500 (1 call unaccounted: at most 40 tokens, $0.2500)"
    )
    assert spent_words([unknown, paid], BudgetSettings()) == (
        "2 calls, 540 tokens, $0.2500 (2 calls unaccounted: at most 540 tokens)"
    )


def test_a_batch_at_an_unknown_price_is_no_free_one() -> None:
    """Two models in batches, one free and one whose price nobody knows: nothing is left out."""
    spend = Spend()
    spend.elsewhere = {
        "free, batches": Totals(requests=1, usd=0.0),
        "other, batches": Totals(requests=1, unaccounted=Amount(1, 500, 0)),
    }
    assert Budget(BudgetSettings(), spend).words() == (
        "2 calls, 500 tokens, $0.0000 (1 call unaccounted: at most 500 tokens)"
    )


def test_the_next_cap_lets_the_next_call_through() -> None:
    """A cap that is far too small is not only doubled."""
    error = BudgetExceededError("stop", cap="max_tokens", limit=10, needed=731)
    words = with_cap(["run", "--max-tokens", "10"], error.cap, error.enough)
    assert words == ["run", "--max-tokens", "740"]


@pytest.mark.parametrize(
    ("estimated", "learnt", "enough"),
    [
        (0.0, False, 5_742.0),  # there is none
        (1_040.0, False, 5_742.0),
        (9_000.0, False, 9_000.0),
        (1_040.0, True, 1_040.0),
        (1_010.0, True, 1_020.0),  # the next call has to fit
        (990.0, True, 5_742.0),  # so much did not do
    ],
)
def test_the_next_cap_goes_by_an_estimate_that_has_learnt(
    estimated: float,
    learnt: bool,  # noqa: FBT001  # a parameter of the test
    enough: float,
) -> None:
    """Before it has, the larger of it and of what the rows before took, here 5,742, is named."""
    stopped = BudgetExceededError(
        "stop", cap="max_calls", limit=1_000, needed=1_020, spent=1_000, projected=5_742
    )
    stopped.estimated, stopped.learnt = estimated, learnt
    assert stopped.enough == enough
