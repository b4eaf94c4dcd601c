"""Caps in words: as people read them, and as they are typed."""

from __future__ import annotations

import math
from decimal import ROUND_CEILING, Decimal

from clear_pipeline.llm.meter import Amount


def of_cap(amount: Amount, cap: str) -> float:
    """What of an amount the cap of this name (max_usd, max_tokens, max_calls) limits."""
    return {"max_calls": amount.calls, "max_tokens": amount.tokens, "max_usd": amount.usd}[cap]


def cap_option(cap: str) -> str:
    """The option that sets it, as "--max-usd"."""
    return f"--{cap.replace('_', '-')}"


def cap_shown(cap: str, value: float) -> str:
    """A cap as people read it: $2.50, $0.00001 where that is no whole cents, 17,000."""
    if cap != "max_usd":
        return f"{value:,.0f}"
    exact = Decimal(str(value))
    return f"${value:,.2f}" if value == round(value, 2) else f"${exact:,f}"


def cap_typed(cap: str, value: float) -> str:
    """The same as it is typed: without the sign and the commas."""
    return cap_shown(cap, value).removeprefix("$").replace(",", "")


def cap_words(cap: str, value: float) -> list[str]:
    """The option and a value that is at least `value`, as `cap_value` rounds it."""
    return [cap_option(cap), cap_value(cap, value)]


def cap_value(cap: str, value: float) -> str:
    """At least `value`, with two digits that say something: whole cents, tokens or calls."""
    exact = Decimal(str(value))
    rounded = exact.quantize(Decimal(1).scaleb(exact.adjusted() - 1), rounding=ROUND_CEILING)
    return f"{math.ceil(rounded * 100) / 100:.2f}" if cap == "max_usd" else f"{math.ceil(rounded)}"
