"""Hard caps: no request is sent that could take the spend of a run above one of them.

A request is entered in the record of spend at the most that it can cost, then sent, then settled
by what the server counted. Near a cap fewer requests are in flight, since each new one waits until
its bound fits; the run stops when none fits and none is in flight.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final, Self

from clear_pipeline.errors import BudgetExceededError, UsageError
from clear_pipeline.llm.base import Usage
from clear_pipeline.llm.caps import cap_shown, of_cap
from clear_pipeline.llm.meter import Amount, Meter, Totals, nanodollars
from clear_pipeline.llm.pricing import HOW_TO_GIVE
from clear_pipeline.llm.settings import BudgetSettings, Prices
from clear_pipeline.llm.spaced import PAUSE_S, Spaced
from clear_pipeline.llm.spend import Reservation, Spend

logger = logging.getLogger(__name__)

UNPRICED: Final = (
    f"the price is not known, so max_usd cannot be kept: give it with {HOW_TO_GIVE}, or cap "
    "max_tokens or max_calls instead"
)
"""Why a cap in dollars is refused, after the name of a model."""


@dataclass(frozen=True, eq=False, slots=True)
class _Waiting:
    reservation: Reservation
    granted: asyncio.Future[None]


class Budget:
    """The caps of one run, over all its models and resumes.

    Lives in one event loop; a second process is kept out by the lock of the run directory.

    Args:
        settings: The caps.
        spend: The record that they are held against; it is closed with this.
        pause: Seconds between two commits of the record.
    """

    def __init__(self, settings: BudgetSettings, spend: Spend, *, pause: float = PAUSE_S) -> None:
        self.settings = settings
        self.spend = spend
        self._waiting: list[_Waiting] = []
        self._stopped: Exception | None = None
        self._look_soon = Spaced(self._look, pause=pause)

    @property
    def is_capped(self) -> bool:
        """Whether there is any cap."""
        return self.settings != BudgetSettings()

    def account(self, model: str, prices: Prices | None, meter: Meter) -> Account:
        """The way of one model to the budget.

        Args:
            model: Under which name its spend is counted.
            prices: What its tokens cost; None where that is not known.
            meter: Counts the requests and bills of this session.

        Raises:
            UsageError: There is a cap in dollars and the price is not known.
        """
        if prices is not None:
            meter.priced()
            self.spend.price_earlier(model, prices)
        elif self.settings.max_usd is not None:
            raise UsageError(f"{model}: {UNPRICED}")
        return Account(self, model, prices, meter)

    async def reserve(self, reservation: Reservation) -> None:
        """Wait until the bound fits under every cap; on return it is on the disk.

        Raises:
            BudgetExceededError: It does not fit, and no request is in flight whose bill might
                leave room; nor does any fit that is asked for later.
        """
        if self._stopped is not None:
            raise self._stopped
        waiting = _Waiting(reservation, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        self.look_again()
        try:
            await waiting.granted
        except asyncio.CancelledError:
            if not waiting.granted.cancelled() and waiting.granted.exception() is None:
                self.spend.withdraw(reservation)
            self.look_again()
            raise

    def fits(self, amount: Amount) -> bool:
        """Whether so much more may be spent under every cap, whatever the open requests take."""
        return self._cap_below(self.spend.committed + amount) is None

    def exceeded(self, amount: Amount) -> BudgetExceededError:
        """What to raise if so much does not fit and nothing is open that might leave room."""
        return self._exceeded(amount)

    def look_again(self) -> None:
        """Soon, grant what fits by then: one commit for all that came meanwhile."""
        self._look_soon.soon()

    def close(self) -> None:
        """Close the record; requests in flight are unaccounted."""
        self.spend.close()

    def _look(self) -> None:
        self._waiting = [each for each in self._waiting if not each.granted.done()]
        try:
            self._grant()
            self.spend.flush()
        except Exception as error:  # noqa: BLE001  # raised again where it is waited for
            self._stopped = error
            for each in self._waiting:
                each.granted.set_exception(error)

    def _grant(self) -> None:
        committed, fitting = self.spend.committed, []
        for each in self._waiting:
            after = committed + each.reservation.amount
            if self._cap_below(after) is None:
                fitting.append(each)
                committed = after
        if fitting:
            self.spend.enter([each.reservation for each in fitting])
            for each in fitting:
                each.granted.set_result(None)
            self._waiting = [each for each in self._waiting if not each.granted.done()]
        elif self._waiting and not self.spend.open:
            self.spend.flush()
            # Whoever was answered last has its answer in the cache by now: see `docs/design.md`.
            raise self._exceeded(self._waiting[0].reservation.amount)

    def _cap_below(self, amount: Amount) -> str | None:
        """The cap that this amount would be above, None if all hold."""
        caps = self.settings
        if caps.max_calls is not None and amount.calls > caps.max_calls:
            return "max_calls"
        if caps.max_tokens is not None and amount.tokens > caps.max_tokens:
            return "max_tokens"
        if caps.max_usd is not None and amount.nanodollars > nanodollars(caps.max_usd):
            return "max_usd"
        return None

    def _exceeded(self, next_call: Amount) -> BudgetExceededError:
        spent = self.spend.spent
        needed = spent + next_call
        cap = self._cap_below(needed) or ""
        most = {
            "max_calls": "one call more",
            "max_tokens": f"{next_call.tokens:,} tokens",
            "max_usd": dollars(next_call),
        }
        return BudgetExceededError(
            f"stopped by {cap}: {self.words()} spent, and the next call may take {most[cap]}",
            cap=cap,
            limit=getattr(self.settings, cap),
            needed=of_cap(needed, cap),
            spent=of_cap(spent, cap),
        )

    def words(self) -> str:
        """What was spent, of what may be, and what of it is unaccounted."""
        spend = self.spend
        by_model = [*spend.totals().values(), *spend.elsewhere.values(), spend.beside]
        return spent_words(by_model, self.settings)


class Account:
    """One model's way to the budget; made by `Budget.account`."""

    def __init__(self, budget: Budget, model: str, prices: Prices | None, meter: Meter) -> None:
        self._budget = budget
        self._model = model
        self._prices = prices
        self._meter = meter
        self._beyond = Usage()
        self._warned = False

    def request(self, most: Usage) -> Request:
        """Reserve the bound of one request; send it inside, and settle it there.

        A request that is left unsettled, whatever the reason, counts at its bound.

        Args:
            most: Upper bound of its tokens.

        Raises:
            BudgetExceededError: A cap forbids it; it must not be sent.
        """
        return Request(self, Reservation(self._model, most + self._beyond, self._prices))

    async def reserve(self, reservation: Reservation) -> None:
        """Enter a request that is about to be sent."""
        await self._budget.reserve(reservation)
        self._meter.sent()

    def over(self, reservation: Reservation, *, settled: bool) -> None:
        """A request has come to its end."""
        if not settled:
            self._budget.spend.give_up(reservation)
        self._budget.look_again()

    def settle(self, reservation: Reservation, usage: Usage) -> None:
        """Enter a bill, and learn from it if it is above the bound."""
        usd = self._budget.spend.settle(reservation, usage)
        self._meter.billed(usage, usd=usd)
        over = Usage(
            prompt=max(0, usage.prompt - reservation.most.prompt),
            completion=max(0, usage.completion - reservation.most.completion),
        )
        if over != Usage():
            self._beyond += over
            tell = self._budget.is_capped and not self._warned
            self._warned |= tell
            logger.log(
                logging.WARNING if tell else logging.DEBUG,
                "%s: the server counted %d prompt and %d completion tokens where at most %d and "
                "%d could be; later requests are reserved with so many more, but those in flight "
                "may pass a cap by as much",
                self._model, usage.prompt, usage.completion,
                reservation.most.prompt, reservation.most.completion,
            )  # fmt: skip


class Request:
    """One request that may be sent."""

    def __init__(self, account: Account, reservation: Reservation) -> None:
        self._account = account
        self._reservation = reservation
        self._settled = False

    async def __aenter__(self) -> Self:
        await self._account.reserve(self._reservation)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._account.over(self._reservation, settled=self._settled)

    def settle(self, usage: Usage) -> None:
        """Say what the server counted. A reply without a count leaves the bound as it is."""
        if usage != Usage():
            self._settle(usage)

    def refused(self) -> None:
        """It is known that nothing is billed; the request still counts as a call."""
        self._settle(Usage())

    def _settle(self, usage: Usage) -> None:
        self._settled = True
        self._account.settle(self._reservation, usage)


def dollars(amount: Amount) -> str:
    """For people."""
    return f"${amount.usd:,.4f}"


def spent_words(by_model: Iterable[Totals], caps: BudgetSettings) -> str:
    """What was spent, each count with its cap where it has one; what of it is unaccounted.

    Of a free model without a cap that is left out, its tokens too: nothing hangs on it.

    Args:
        by_model: The counts of each model; one of unknown price is not free beside a free one.
        caps: All that are set.
    """
    told = [_told(each, caps) for each in by_model]
    total = sum(told, Totals())
    spent, lost = total.spent, total.unaccounted
    words = [count_of(spent.calls, "call", cap=_of("max_calls", caps))]
    if total.cached_samples:
        words.append(f"{count_of(total.cached_samples, 'answer')} from the cache")
    words.append(count_of(spent.tokens, "token", cap=_of("max_tokens", caps)))
    if total.usd is not None or caps.max_usd is not None:
        words.append(f"{dollars(spent)}{_of('max_usd', caps)}")
    if lost.calls:
        priced = all(each.usd is not None for each in told if each.unaccounted.calls)
        price = f", {dollars(lost)}" if priced and lost.nanodollars else ""
        calls, tokens = count_of(lost.calls, "call"), count_of(lost.tokens, "token")
        words[-1] += f" ({calls} unaccounted: at most {tokens}{price})"
    return ", ".join(words)


def _told(total: Totals, caps: BudgetSettings) -> Totals:
    """The counts of one model, without what is unaccounted where nothing hangs on it."""
    is_free = total.usd is not None and not total.spent.nanodollars
    return replace(total, unaccounted=Amount()) if is_free and caps == BudgetSettings() else total


def count_of(number: int, noun: str, *, cap: str = "") -> str:
    """A number and what it counts, as in "1 call" and "2 of 9 calls"."""
    return f"{number:,}{cap} {noun}" + ("" if number == 1 and not cap else "s")


def _of(name: str, caps: BudgetSettings) -> str:
    cap = getattr(caps, name)
    return "" if cap is None else f" of {cap_shown(name, cap)}"
