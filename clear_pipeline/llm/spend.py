"""What was spent: requests, tokens and dollars by model, and what may still come.

A request is entered before it is sent, and settled after. One that was never settled may have
been billed, so it counts at the most that it can have cost: it is *unaccounted*.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache

from clear_pipeline.llm.base import Usage
from clear_pipeline.llm.meter import Amount, Totals, nanodollars
from clear_pipeline.llm.pricing import cost
from clear_pipeline.llm.settings import Prices


@dataclass(eq=False, slots=True)
class Reservation:
    """One request that is about to be sent.

    Attributes:
        model: Under which name it is counted.
        most: The most tokens that it can take.
        prices: None where they are not known.
        id: Of its row in a file, once it is entered there.
        amount: The most that it can cost.
    """

    model: str
    most: Usage
    prices: Prices | None
    id: int = 0
    amount: Amount = field(init=False)

    def __post_init__(self) -> None:
        dollars = 0 if self.prices is None else most_nanodollars(self.most, self.prices)
        self.amount = Amount(1, self.most.prompt + self.most.completion, dollars)


def most_nanodollars(most: Usage, prices: Prices, *, batch: bool = False) -> int:
    """The price of so many tokens if each prompt token is of the dearest kind."""
    return nanodollars(cost(most, _dearest(prices), batch=batch))


@cache
def _dearest(prices: Prices) -> Prices:
    """The same with all prompt tokens at the price of their dearest kind."""
    kinds = (prices.input, prices.cached, prices.cache_write)
    dearest = max(each for each in kinds if each is not None)
    return prices.model_copy(update=dict.fromkeys(("input", "cached", "cache_write"), dearest))


@dataclass(slots=True)
class Sum:
    """What one model has spent; whole numbers, so that nothing is lost in a million additions."""

    calls: int = 0
    usage: Usage = field(default_factory=Usage)
    nanodollars: int | None = None
    unaccounted: Amount = field(default_factory=Amount)

    @property
    def spent(self) -> Amount:
        """All that counts against a cap: what was billed, and what may have been."""
        tokens = self.usage.prompt + self.usage.completion
        billed = Amount(self.calls - self.unaccounted.calls, tokens, self.nanodollars or 0)
        return billed + self.unaccounted

    @property
    def totals(self) -> Totals:
        """As counts of a run; those that are not about money are 0."""
        return Totals(
            requests=self.calls,
            usage=self.usage,
            usd=None if self.nanodollars is None else self.nanodollars / 1e9,
            unaccounted=self.unaccounted,
        )


class Spend:
    """The sums of one process, in memory. `spend_file.SpendFile` keeps them over resumes.

    Attributes:
        elsewhere: What another record has of this run, by model: batches, open ones as unaccounted.
        reserved: The part of it that open batches can take at most.
        beside: What other work has spent under the same caps.
    """

    def __init__(self) -> None:
        self.elsewhere: Mapping[str, Totals] = {}
        self.reserved = Amount()
        self.beside = Totals()
        self._sums: dict[str, Sum] = {}
        self._open: set[Reservation] = set()
        self._held = Amount()

    @property
    def open(self) -> int:
        """How many requests are entered and neither settled nor given up."""
        return len(self._open)

    @property
    def spent(self) -> Amount:
        """What was billed or may have been, without the requests that are open."""
        batches = sum((each.spent for each in self.elsewhere.values()), Amount())
        return sum((each.spent for each in self._sums.values()), batches + self.beside.spent)

    @property
    def billed(self) -> Amount:
        """The same without open batches, which are among `elsewhere` at their bounds."""
        return self.spent - self.reserved

    @property
    def unaccounted(self) -> Amount:
        """The part of `spent` that may not have been billed."""
        return sum((each.unaccounted for each in self._sums.values()), Amount())

    @property
    def committed(self) -> Amount:
        """What was spent and what the open requests may cost: a cap is held against this."""
        return self.spent + self._held

    def totals(self) -> dict[str, Totals]:
        """Requests, tokens, dollars and what is unaccounted, by model; other counts are 0."""
        return {model: each.totals for model, each in self._sums.items()}

    def enter(self, reservations: Sequence[Reservation]) -> None:
        """Enter requests that are about to be sent."""
        self._open |= set(reservations)
        self._held = sum((each.amount for each in reservations), self._held)

    def settle(self, reservation: Reservation, usage: Usage) -> float | None:
        """Enter the bill of a request.

        Returns:
            Its price in dollars; None where the prices are not known.
        """
        total = self._closed(reservation)
        total.usage += usage
        total.calls += 1
        if reservation.prices is None:
            return None
        usd = cost(usage, reservation.prices)
        total.nanodollars = (total.nanodollars or 0) + nanodollars(usd)
        return usd

    def flush(self) -> None:
        """Write down what was settled since the last time; nothing to do in memory."""

    def give_up(self, reservation: Reservation) -> None:
        """Nobody will ever know the bill of this request: it counts at its bound."""
        total = self._closed(reservation)
        total.calls += 1
        total.unaccounted += reservation.amount
        if reservation.prices is not None:
            total.nanodollars = total.nanodollars or 0

    def withdraw(self, reservation: Reservation) -> None:
        """The request was not sent after all."""
        self._closed(reservation)

    def price_earlier(self, model: str, prices: Prices) -> None:
        """Put a price on requests of a model from before its price was known."""

    def close(self) -> None:
        """Give up the requests that are still open."""
        for reservation in list(self._open):
            self.give_up(reservation)

    def _closed(self, reservation: Reservation) -> Sum:
        """The sums of a request's model; the request is no longer open."""
        self._open.remove(reservation)
        self._held -= reservation.amount
        return self._sums.setdefault(reservation.model, Sum())


def with_spend(totals: Mapping[str, Totals], spent: Mapping[str, Totals]) -> dict[str, Totals]:
    """The counts by model, with requests, tokens and dollars as the record of spend has them.

    A model that the record does not know was asked in batches, which are counted apart.
    """
    merged = dict(totals)
    for model, money in spent.items():
        merged[model] = replace(
            totals.get(model, Totals()),
            requests=money.requests,
            usage=money.usage,
            usd=money.usd,
            unaccounted=money.unaccounted,
        )
    return merged
