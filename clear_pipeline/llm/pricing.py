"""What tokens cost: the one owner of a model's prices, and of the sum over a count of tokens.

Prices that the config gives win. A model in this process or on a machine of one's own costs
nothing. The others are looked up in the price list that the package `genai-prices` brings along
(no request is made). A model that is not in it has no known price, which is never taken for 0.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from datetime import UTC, date, datetime
from functools import cache
from importlib.metadata import version
from typing import Any, Final
from urllib.parse import urlsplit

from clear_pipeline.llm.base import Usage
from clear_pipeline.llm.catalog import embedded_model
from clear_pipeline.llm.settings import ModelSettings, Prices

FREE: Final = Prices(input=0.0, output=0.0)
"""Of a model that runs on one's own machines."""

HOW_TO_GIVE: Final = "--set 'models.scorer.price_per_mtok={input: DOLLARS, output: DOLLARS}'"
"""The option for a scorer that has no known price, or another one; dollars per million tokens."""

_OWN_DOMAINS: Final = (".localhost", ".local", ".internal", ".home.arpa")
"""Reserved for private networks."""

_BATCH: Final = {"processing": "batch"}
"""How the price list names a batch job."""


def prices(settings: ModelSettings) -> Prices | None:
    """What the model costs in US dollars per million tokens; None where that is not known.

    Of prices that depend on the length of a prompt, the first step counts.
    """
    if settings.price_per_mtok is not None:
        return settings.price_per_mtok
    if _is_own(settings):
        return FREE
    return _listed(settings.url, settings.model)


def price_source(settings: ModelSettings) -> str:
    """Where the prices come from, in words that can stand after "at prices"; how to give others."""
    if settings.price_per_mtok is not None:
        return "as configured"
    found = prices(settings)
    if found is None:
        return f"that are not known; give them with {HOW_TO_GIVE}"
    if found is FREE:
        return "of 0, since it runs on a machine of yours"
    return (
        f"of genai-prices {version('genai-prices')}, whose newest entry is of {_newest_entry()}; "
        "price_per_mtok overrides them"
    )


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


def _is_own(settings: ModelSettings) -> bool:
    """Whether the model runs in this process or at an address that no provider can have."""
    if embedded_model(settings) is not None:
        return True
    host = urlsplit(settings.url).hostname or ""
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        return bool(host) and ("." not in host or host.endswith(_OWN_DOMAINS))


@cache
def _listed(url: str, model: str) -> Prices | None:
    """The entry of the price list, as it holds today."""
    import genai_prices  # here, because reading the list takes a third of a second

    def dollars(context: dict[str, str] | None = None, **tokens: int) -> float:
        found = genai_prices.calc_price(
            genai_prices.Usage(**tokens), model, provider_api_url=url, price_context=context
        )
        return float(found.total_price * 1_000_000)

    try:
        fresh = dollars(input_tokens=1)
    except LookupError:
        return None
    batch = dollars(_BATCH, input_tokens=1)
    return Prices(
        input=fresh,
        output=dollars(output_tokens=1),
        cached=dollars(input_tokens=1, cache_read_tokens=1),
        cache_write=dollars(input_tokens=1, cache_write_tokens=1),
        batch_discount=round(1 - batch / fresh, 6) if fresh else 0.0,
    )


def _newest_entry() -> date:
    """The latest date up to today from which some price of the list holds: it is no older."""
    today = datetime.now(tz=UTC).date()
    return max(day for day in _dates() if day <= today)


def _dates() -> Iterator[date]:
    from genai_prices.data_snapshot import get_snapshot

    for provider in get_snapshot().providers:
        for model in provider.models:
            conditional: list[Any] = model.prices if isinstance(model.prices, list) else []
            for entry in [*conditional, *(model.price_variants or ())]:
                day = getattr(entry.constraint, "start_date", None)
                if isinstance(day, date):
                    yield day
