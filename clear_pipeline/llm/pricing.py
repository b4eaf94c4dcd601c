"""What tokens cost."""

from __future__ import annotations

from clear_pipeline.llm.base import Usage
from clear_pipeline.llm.settings import Prices


def cost(usage: Usage, prices: Prices, *, batch: bool = False) -> float:
    """Price of the tokens in US dollars.

    Args:
        usage: What the server counted.
        prices: Dollars per million tokens.
        batch: Whether a batch job did the work.
    """
    cached = prices.input if prices.cached is None else prices.cached
    written = prices.input if prices.cache_write is None else prices.cache_write
    fresh = usage.prompt - usage.cached - usage.cache_write
    dollars = (
        fresh * prices.input
        + usage.cached * cached
        + usage.cache_write * written
        + usage.completion * prices.output
    ) / 1e6
    return dollars * (1 - prices.batch_discount) if batch else dollars
