"""Model settings and counts."""

import logging

import pytest
from pydantic import ValidationError

from clear_pipeline.llm.base import Usage
from clear_pipeline.llm.catalog import CATALOG, DEFAULT_MODEL
from clear_pipeline.llm.meter import Meter, Totals
from clear_pipeline.llm.open import model_identity
from clear_pipeline.llm.settings import ModelSettings


def local(**fields: object) -> ModelSettings:
    return ModelSettings.model_validate(
        {"model": "m", "base_url": "http://127.0.0.1:8000/v1", **fields}
    )


def test_identity_ignores_how_hard_the_model_is_driven() -> None:
    """Port, loopback spelling, scheme, limits and prices leave cache keys alone."""
    other = local(
        base_url="https://localhost:9000/v1/",
        max_in_flight=1,
        timeout_s=1,
        max_attempts=1,
        price_per_mtok={"input": 1, "output": 1},
        api_key_env="SOME_KEY",
    )
    assert other.identity == local().identity == "localhost/v1:m"


@pytest.mark.parametrize(
    "fields", [{"model": "n"}, {"revision": "r"}, {"base_url": "http://gpu:8000/v1"}]
)
def test_identity_tells_models_apart(fields: dict[str, object]) -> None:
    """Model, revision and host each make another model."""
    assert local(**fields).identity != local().identity


def test_a_catalogue_name_means_the_weights_only_without_a_url() -> None:
    """The embedded model is its checksum; the same name on a server is that server's model."""
    assert model_identity(ModelSettings(model=DEFAULT_MODEL)) == (
        f"weights:{CATALOG[DEFAULT_MODEL].sha256}"
    )
    assert model_identity(local(model=DEFAULT_MODEL)) == f"localhost/v1:{DEFAULT_MODEL}"


def test_openai_s_key_is_meant_for_openai_alone() -> None:
    """Another endpoint gets a key only from a variable that the user names for it."""
    assert ModelSettings(model="m").key_env == "OPENAI_API_KEY"
    assert local().key_env is None
    assert local(api_key_env="MY_KEY").key_env == "MY_KEY"


@pytest.mark.parametrize(
    "url",
    ["localhost:8000", "ftp://a/v1", "http://user:secret@host/v1", "http://host/v1?key=secret"],
)
def test_a_base_url_is_a_plain_http_address(url: str) -> None:
    """Missing or foreign schemes and secrets in the URL are refused."""
    with pytest.raises(ValidationError):
        local(base_url=url)


def test_totals_add_up_and_survive_json() -> None:
    """Sums keep every count; unpriced spend stays unknown, not zero."""
    meter = Meter()
    meter.sent()
    meter.billed(Usage(prompt=3, completion=1), usd=None)
    meter.answered(2)
    meter.served_by("a")
    before = meter.snapshot()
    assert before.usd is None
    total = before + Totals(requests=1, retries=1, failed=1, cached_samples=4, usd=0.5)
    assert total == Totals(2, 1, 1, 2, 4, Usage(prompt=3, completion=1), 0.5, ("a",))
    assert Totals.from_json(total.to_json()) == total


def test_a_second_served_name_is_warned_about_once(caplog: pytest.LogCaptureFixture) -> None:
    """An endpoint that swaps its model in the middle of a run is reported and recorded."""
    meter = Meter()
    with caplog.at_level(logging.WARNING):
        for name in ("a-1", "a-1", "a-2", "a-1"):
            meter.served_by(name)
    assert len(caplog.records) == 1
    assert "'a-2'" in caplog.text
    assert meter.snapshot().served == ("a-1", "a-2")
