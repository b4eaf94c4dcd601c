"""Whatever is asked, answered, lost and killed, in any order: no cap is passed."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from clear_pipeline.errors import BudgetExceededError, CallError
from clear_pipeline.llm.base import Usage
from clear_pipeline.llm.budget import Account, Budget, Request
from clear_pipeline.llm.meter import Amount, Meter
from clear_pipeline.llm.settings import BudgetSettings, Prices
from clear_pipeline.llm.spend_file import SpendFile, read_spend

PRICES = Prices(input=1.0, cached=0.25, cache_write=1.25, output=4.0)
"""Dollars per million tokens; at most 1,250 and 4,000 billionths for one."""


@dataclass(frozen=True)
class Ask:
    """A question with its bound, and what the server will bill for it."""

    most: Usage
    bill: Usage


@dataclass(frozen=True)
class End:
    """What becomes of one of the requests in flight."""

    which: int
    how: str


KILL = "kill"


@st.composite
def asks(draw: st.DrawFn) -> Ask:
    """Bills are at most the bound."""
    prompt, completion = draw(st.integers(1, 40)), draw(st.integers(0, 40))
    billed = draw(st.integers(0, prompt))
    cached = draw(st.integers(0, billed))
    bill = Usage(billed, cached, draw(st.integers(0, completion)))
    return Ask(Usage(prompt, 0, completion), bill)


ENDS = st.builds(
    End, st.integers(0, 9), st.sampled_from(["answered", "refused", "lost", "cancelled"])
)
CAPS = st.builds(
    BudgetSettings,
    max_calls=st.none() | st.integers(0, 12),
    max_tokens=st.none() | st.integers(0, 400),
    max_usd=st.none() | st.integers(0, 400_000).map(lambda n: n / 1e9),
)


@dataclass
class Server:
    """Counts for itself what it bills; a request is billed as soon as it arrives."""

    counted: Amount = field(default_factory=Amount)
    settled: Amount = field(default_factory=Amount)
    pending: dict[int, tuple[Usage, asyncio.Future[str]]] = field(default_factory=dict)

    def arrive(self, bill: Usage) -> asyncio.Future[str]:
        end = asyncio.get_running_loop().create_future()
        self.pending[max(self.pending, default=0) + 1] = (bill, end)
        self.counted += Amount(calls=1) + tokens_of(bill)
        return end


def tokens_of(bill: Usage) -> Amount:
    fresh = bill.prompt - bill.cached
    price = 1_000 * fresh + 250 * bill.cached + 4_000 * bill.completion
    return Amount(0, bill.prompt + bill.completion, price)


async def ask(account: Account, server: Server, most: Usage, bill: Usage) -> None:
    """What a client does: reserve, send, settle."""
    async with account.request(most) as request:
        end = server.arrive(bill)
        finish(request, server, bill, await end)


def finish(request: Request, server: Server, bill: Usage, end: str) -> None:
    match end:
        case "answered":
            request.settle(bill)
            if bill != Usage():  # else nobody counted
                server.settled += Amount(calls=1) + tokens_of(bill)
        case "refused":
            server.counted -= tokens_of(bill)  # a refusal is not billed
            request.refused()
            server.settled += Amount(calls=1)
        case _:
            raise CallError("timeout", end, transient=True)


async def turns() -> None:
    """Let everything happen that can happen without an answer of the server."""
    for _ in range(4):
        await asyncio.sleep(0)


async def live(
    path: Path, caps: BudgetSettings, steps: Sequence[Ask | End | str], server: Server
) -> list[Ask | End | str]:
    """One process, until it is killed; returns the steps after that."""
    spend = SpendFile(path / "spend.sqlite", earlier={})
    budget = Budget(caps, spend, pause=0.0)  # a bill is on the disk some turns after it came
    account = budget.account("m", PRICES, Meter())
    tasks: list[asyncio.Task[None]] = []
    left = iter(steps)
    for step in left:
        match step:
            case Ask(most, bill):
                tasks.append(asyncio.create_task(ask(account, server, most, bill)))
            case End(which, how) if server.pending:
                key = sorted(server.pending)[which % len(server.pending)]
                _, end = server.pending.pop(key)
                if how == "cancelled":
                    end.cancel()
                else:
                    end.set_result(how)
            case "kill":
                break
        await turns()
        check(caps, server, spend)
    leave_as_killed(path)
    server.pending.clear()
    for task in tasks:
        task.cancel()
    ends = await asyncio.gather(*tasks, return_exceptions=True)
    expected = (type(None), BudgetExceededError, CallError, asyncio.CancelledError)
    assert all(isinstance(end, expected) for end in ends), ends
    spend.close()
    return list(left)


def leave_as_killed(path: Path) -> None:
    """The files as they lie on the disk at this moment, in a folder for the next process."""
    (path / "killed").mkdir()
    for file in path.glob("spend.sqlite*"):
        shutil.copy(file, path / "killed")


def check(caps: BudgetSettings, server: Server, spend: SpendFile) -> None:
    """Neither by the record nor by the server's own count is a cap passed."""
    for amount in (spend.committed, server.counted):
        assert caps.max_calls is None or amount.calls <= caps.max_calls
        assert caps.max_tokens is None or amount.tokens <= caps.max_tokens
        assert caps.max_usd is None or amount.nanodollars <= round(caps.max_usd * 1e9)
    settled = spend.spent - spend.unaccounted
    assert settled == server.settled
    assert spend.committed.calls == server.counted.calls
    assert spend.committed.tokens >= server.counted.tokens
    assert spend.committed.nanodollars >= server.counted.nanodollars


@settings(deadline=None, max_examples=40)
@given(caps=CAPS, steps=st.lists(asks() | ENDS | st.just(KILL), min_size=5, max_size=40))
def test_no_order_of_events_passes_a_cap(
    caps: BudgetSettings, steps: list[Ask | End | str]
) -> None:
    """Over all resumes the record covers the server's count, and what is settled is equal to it."""
    server = Server()
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch)
        while steps:
            steps = asyncio.run(live(path, caps, steps, server))
            path = path / "killed"
        sums = read_spend(path / "spend.sqlite")
        assert sums is not None
        after = sum((each.spent for each in sums.values()), Amount())
        assert after.calls == server.counted.calls
        assert after.tokens >= server.counted.tokens
