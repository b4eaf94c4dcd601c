"""What a model costs: configured, one's own, listed, or not known."""

import math
import socket
from datetime import date

import pytest
from pydantic import ValidationError

from clear_pipeline.llm.base import Usage
from clear_pipeline.llm.catalog import DEFAULT_MODEL
from clear_pipeline.llm.pricing import cost, price_source, prices
from clear_pipeline.llm.settings import ModelSettings, Prices

OWN = Prices(input=0.0, output=0.0)


def model(name: str = "m", url: str | None = None, **fields: object) -> ModelSettings:
    return ModelSettings.model_validate({"model": name, "base_url": url, **fields})


def test_cost_charges_each_kind_of_token_once() -> None:
    """1M tokens: 0.5M fresh, 0.3M cached, 0.2M written; a batch job costs half."""
    prices = Prices(input=2.0, cached=0.5, cache_write=2.5, output=8.0)
    usage = Usage(prompt=1_000_000, cached=300_000, cache_write=200_000, completion=100_000)
    assert cost(usage, prices) == pytest.approx(1.0 + 0.15 + 0.5 + 0.8)
    assert cost(usage, prices, batch=True) == pytest.approx(cost(usage, prices) / 2)
    assert cost(usage, Prices(input=2.0, output=8.0)) == pytest.approx(2.8)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8000/v1",
        "http://[::1]:8000/v1",
        "http://localhost:11434/v1",
        "http://10.1.2.3/v1",
        "http://192.168.0.7:8000/v1",
        "http://100.64.0.9/v1",
        "http://[fd00::7]/v1",
        "http://gpu-box:8000/v1",
        "https://models.lab.internal/v1",
    ],
)
def test_a_model_at_an_address_of_one_s_own_costs_nothing(url: str) -> None:
    """No provider can be reached at a loopback or private address or at an undotted name."""
    assert prices(model(url=url)) == OWN
    assert "machine of yours" in price_source(model(url=url))


def test_the_embedded_model_costs_nothing() -> None:
    """It runs in this process; the same name at a provider has no known price."""
    assert prices(model(DEFAULT_MODEL)) == OWN
    assert prices(model(DEFAULT_MODEL, "https://models.example.org/v1")) is None


@pytest.mark.parametrize("url", [None, "http://127.0.0.1:8000/v1", "https://models.example.org/v1"])
def test_configured_prices_win(url: str | None) -> None:
    """Over the list, and over one's own address: there may be a proxy behind it."""
    given = {"input": 3, "output": 4}
    settings = model("gpt-4.1-mini", url, price_per_mtok=given)
    assert prices(settings) == Prices(input=3.0, output=4.0)
    assert price_source(settings) == "as configured"


def test_a_listed_model_has_all_its_prices() -> None:
    """OpenAI's list: 0.40 in, 0.10 from the cache, 1.60 out, batch jobs at half."""
    found = prices(model("gpt-4.1-mini"))
    assert found == Prices(input=0.4, cached=0.1, cache_write=0.4, output=1.6, batch_discount=0.5)


def test_a_cache_that_is_billed_for_writing_costs_more_than_the_prompt() -> None:
    """Anthropic's list: 3 in, 3.75 to write, 0.30 to read, 15 out."""
    found = prices(model("claude-sonnet-4-5", "https://api.anthropic.com/v1"))
    assert found == Prices(input=3, cached=0.3, cache_write=3.75, output=15, batch_discount=0.5)


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("gpt-nobody-knows", None),
        ("gpt-4.1-mini", "https://models.example.org/v1"),
        ("gpt-4.1-mini", "http://8.8.8.8/v1"),
        ("ft:gpt-4.1-mini:us::x", None),
    ],
)
def test_an_unknown_price_is_not_zero(name: str, url: str | None) -> None:
    """None, with how to give it: another host's price is not this one's."""
    assert prices(model(name, url)) is None
    assert "price_per_mtok=" in price_source(model(name, url))


def test_a_listed_price_is_dated_and_can_be_overridden() -> None:
    """The version of the list, a day that is not in the future, and the setting that wins."""
    told = price_source(model("gpt-4.1-mini"))
    assert told.startswith("of genai-prices ")
    assert "price_per_mtok overrides" in told
    day = told.partition("newest entry is of ")[2][:10]
    assert date(2026, 1, 1) <= date.fromisoformat(day) <= date.today()  # noqa: DTZ011


def test_the_list_is_read_without_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """No connection is opened to learn a price."""

    def refuse(*_: object) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert prices(model("gpt-4o-mini")) is not None


@pytest.mark.parametrize("field", ["input", "output", "cached", "cache_write"])
@pytest.mark.parametrize("price", [math.inf, math.nan, -1.0])
def test_a_price_is_a_finite_number(field: str, price: float) -> None:
    """YAML has `.inf` and `.nan`, of which no bill can be made."""
    with pytest.raises(ValidationError, match=field):
        Prices.model_validate({"input": 1.0, "output": 1.0, field: price})
