"""The price of a training in words, and beside a cap."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from clear_pipeline.errors import BudgetExceededError, UsageError
from clear_pipeline.finetune.base import Price
from clear_pipeline.llm.caps import cap_shown

_CENT: Final = 0.01


def told(price: Price) -> str:
    """What a training costs, in a sentence."""
    dollars = "an unknown sum" if price.usd is None else f"about {_dollars(price.usd)}"
    tokens = "" if price.tokens is None else f" for {price.tokens:,} tokens"
    return f"This training costs {dollars}{tokens}, by {price.basis}."


def hold(price: Price, *, cap: float | None, spent: float = 0.0) -> None:
    """Hold a price against a cap.

    Args:
        price: Of a training that has not begun.
        cap: In US dollars; None = there is none.
        spent: What was spent under it before, in US dollars.

    Raises:
        BudgetExceededError: Both together are above the cap.
        UsageError: The price is not known.
    """
    if cap is None or price.usd == 0:
        return
    if price.usd is None:
        raise UsageError(f"{told(price)} --max-usd needs a price that is known")
    needed = spent + price.usd
    if needed > cap:
        before = f" With the {_dollars(spent)} spent before, that" if spent else " That"
        error = BudgetExceededError(
            f"{told(price)}{before} is more than {cap_shown('max_usd', cap)}, the cap",
            cap="max_usd",
            limit=cap,
            needed=needed,
            spent=spent,
        )
        error.estimated = needed
        raise error


def _dollars(usd: float) -> str:
    """In whole cents; of less than one, two digits that say something."""
    if usd >= _CENT or not usd:
        return f"${usd:,.2f}"
    return f"${Decimal(f'{usd:.2g}'):f}"
