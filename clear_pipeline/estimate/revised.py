"""What a whole run is expected to take, once its first calls have shown what they take."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from clear_pipeline.errors import ALLOWANCE
from clear_pipeline.estimate.figures import Estimate, Span
from clear_pipeline.llm.caps import of_cap
from clear_pipeline.llm.meter import Amount, nanodollars
from clear_pipeline.llm.settings import BudgetSettings


@dataclass(frozen=True, slots=True)
class Bill:
    """What is or will be paid for, from low to high.

    Attributes:
        low: At least.
        high: At most.
        priced: Whether the prices are known, so that the dollars mean anything.
    """

    low: Amount
    high: Amount
    priced: bool

    @classmethod
    def of(cls, estimate: Estimate) -> Bill:
        """Of all its stages."""
        need, usd = estimate.need, estimate.usd or Span()
        low, high = (
            Amount(round(calls), round(tokens), nanodollars(dollars))
            for calls, tokens, dollars in (
                (need.calls.low, need.total.low, usd.low),
                (need.calls.high, need.total.high, usd.high),
            )
        )
        return cls(low, high, estimate.usd is not None)

    def __add__(self, other: Bill) -> Bill:
        return Bill(self.low + other.low, self.high + other.high, self.priced and other.priced)

    @property
    def calls(self) -> Span:
        """Requests."""
        return Span(self.low.calls, self.high.calls)

    @property
    def tokens(self) -> Span:
        """Of prompts and completions."""
        return Span(self.low.tokens, self.high.tokens)

    @property
    def usd(self) -> Span | None:
        """In dollars; None where a price is not known."""
        return Span(self.low.usd, self.high.usd) if self.priced else None

    def to_json(self) -> dict[str, list[float] | None]:
        """Pairs of low and high."""
        return {
            "calls": list(self.calls.rounded),
            "tokens": list(self.tokens.rounded),
            "usd": None if (usd := self.usd) is None else [usd.low, usd.high],
        }


@dataclass(frozen=True, slots=True)
class ShortCap:
    """A cap that the run is expected to come to before its end.

    Attributes:
        cap: Name of the setting.
        limit: Its value.
        certain: Whether the low end of what is expected is above it, not the high end alone.
        enough: One that is likely to do.
    """

    cap: str
    limit: float
    certain: bool
    enough: float

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "cap": self.cap,
            "limit": self.limit,
            "certain": self.certain,
            "enough": self.enough,
        }


def short_caps(spent: Amount, left: Bill, caps: BudgetSettings) -> Iterator[ShortCap]:
    """The caps that will not, or may not, suffice.

    Args:
        spent: By the run so far.
        left: Still to come; where that is nothing, every cap suffices.
        caps: Of the run.
    """
    if not left.high.calls:
        return
    limits: dict[str, float] = caps.model_dump(exclude_none=True)
    for cap, limit in limits.items():
        before = of_cap(spent, cap)
        low, high = before + of_cap(left.low, cap), before + of_cap(left.high, cap)
        if high > limit:
            yield ShortCap(cap, limit, certain=low > limit, enough=enough(spent, left, cap))


def enough(spent: Amount, left: Bill, cap: str) -> float:
    """A value of the cap with this name that is likely to do; arguments as of `short_caps`."""
    return of_cap(spent, cap) + ALLOWANCE * of_cap(left.high, cap)


@dataclass(frozen=True, slots=True)
class Revised:
    """An estimate from before the first call, and one that has learnt from the first answers.

    Attributes:
        first: From before the first call.
        now: Of what is left.
        answered: Calls that were answered in between.
        caps: Of the run.
    """

    first: Estimate
    now: Estimate
    answered: int
    caps: BudgetSettings

    @property
    def spent(self) -> Bill:
        """By the run so far, over all its resumes; what may have been billed counts."""
        return Bill(self.now.spent, self.now.spent, self.left.priced)

    @property
    def left(self) -> Bill:
        """Still to come."""
        return Bill.of(self.now)

    @property
    def total(self) -> Bill:
        """Of the whole run."""
        return self.spent + self.left

    @property
    def off(self) -> float:
        """How many more tokens there are than the middle of the first estimate, as its share.

        What was spent before the first estimate is in neither.
        """
        found = self.total.tokens.middle - self.first.spent.tokens
        foreseen = Bill.of(self.first).tokens.middle
        return found / foreseen - 1 if foreseen else 0.0

    @property
    def short_caps(self) -> tuple[ShortCap, ...]:
        """The caps that will not, or may not, suffice."""
        return tuple(short_caps(self.now.spent, self.left, self.caps))

    def to_json(self) -> dict[str, Any]:
        """As plain values; spans are pairs of low and high."""
        return {
            "after_calls": self.answered,
            "spent": self.spent.to_json(),
            "left": self.left.to_json(),
            "total": self.total.to_json(),
            "first": Bill.of(self.first).to_json(),
            "off": self.off,
            "short_caps": [each.to_json() for each in self.short_caps],
        }
