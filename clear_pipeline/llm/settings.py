"""Which model answers, where it is served and how hard it may be driven."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

OPENAI_URL: Final = "https://api.openai.com/v1"
"""Where a model without `base_url` is asked. `OPENAI_BASE_URL` is never read: nothing is sent
anywhere because of the environment."""

OPENAI_KEY_ENV: Final = "OPENAI_API_KEY"

_ADDRESS: Final = re.compile(r"https?://[^/\s@?#]+(/[^\s?#]*)?")

_LOOPBACK = {"127.0.0.1", "::1", "0.0.0.0"}  # noqa: S104 -- compared with, never bound


class Prices(BaseModel):
    """US dollars per million tokens, as the provider's price list has them."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False
    )

    input: float = Field(ge=0)
    """Prompt tokens."""
    output: float = Field(ge=0)
    """Generated tokens, reasoning included."""
    cached: float | None = Field(default=None, ge=0)
    """Prompt tokens read from the provider's cache; None = like `input`."""
    cache_write: float | None = Field(default=None, ge=0)
    """Prompt tokens written to the provider's cache; None = like `input`."""
    batch_discount: float = Field(default=0.5, ge=0, le=1)
    """Part of the price that a batch job saves."""

    @property
    def is_free(self) -> bool:
        """Whether no token costs anything."""
        return not any((self.input, self.output, self.cached, self.cache_write))


class BudgetSettings(BaseModel):
    """What a run may spend at most, over all its models and resumes. None = as much as it takes.

    Outside every fingerprint: another cap reruns nothing.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    max_usd: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    """US dollars; every model needs a known price."""
    max_tokens: int | None = Field(default=None, ge=0)
    """Tokens of prompts and completions, those in a provider's cache included."""
    max_calls: int | None = Field(default=None, ge=0)
    """Requests, retries included."""


class ModelSettings(BaseModel):
    """One model of a run. What changes its answers is in `identity`, the rest is not."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    model: str = Field(min_length=1)
    """Name as the endpoint knows it, or a name of the catalogue (`clear-pipeline model list`)."""
    base_url: str | None = None
    """Root of an OpenAI-compatible API, usually ending in /v1; None = OpenAI, or the catalogue.
    A key or password has no place in it."""
    api_key_env: str | None = Field(default=None, pattern=r"^[A-Z_][A-Z0-9_]*$")
    """Environment variable that holds the key, in capitals, which tells it from a key. None =
    OPENAI_API_KEY at OpenAI; nowhere else is that key sent unless it is named here."""
    api_key_file: Path | None = None
    """File whose one line is the key, in place of a variable. Best readable by you alone."""
    revision: str | None = None
    """Anything that tells two models of one name apart; part of the identity."""
    max_in_flight: int = Field(default=64, ge=1)
    """Most requests open at once; fewer where latency grows or the server refuses."""
    requests_per_minute: float | None = Field(default=None, gt=0)
    """Requests that leave per minute, evenly spaced; None = as the provider's headers say."""
    tokens_per_minute: float | None = Field(default=None, gt=0)
    """Tokens of prompts and answers per minute; None = as the provider's headers say."""
    timeout_s: float = Field(default=600.0, gt=0)
    """Seconds to wait for one answer; connecting may take 10 s of them."""
    max_attempts: int = Field(default=5, ge=1)
    """How often one request is sent before it is given up."""
    backoff_s: float = Field(default=1.0, gt=0)
    """Longest wait before the second attempt, in seconds; doubles per attempt, up to 60 s. The
    wait is a random part of it, so that refused requests do not return all at once."""
    max_samples_per_request: int | None = Field(default=None, ge=1)
    """Upper bound of `n`; None = learned from the server."""
    price_per_mtok: Prices | None = None
    """Prices; None = 0 on machines of one's own, else as listed, see `llm.pricing`."""

    @field_validator("base_url")
    @classmethod
    def _plain_address(cls, url: str | None) -> str | None:
        if url is not None and not _ADDRESS.fullmatch(url):
            raise ValueError(
                "must start with http:// or https:// and a host, with no user, password, query "
                "or fragment; a key belongs in api_key_env or api_key_file"
            )
        return url

    @model_validator(mode="after")
    def _one_key(self) -> Self:
        if self.api_key_env is not None and self.api_key_file is not None:
            raise ValueError("api_key_env and api_key_file both name a key; give one")
        return self

    @property
    def is_openai(self) -> bool:
        """Whether OpenAI itself answers."""
        return urlsplit(self.url).hostname == "api.openai.com"

    @property
    def url(self) -> str:
        """Root of the API, without a slash at its end."""
        return (self.base_url or OPENAI_URL).rstrip("/")

    @property
    def key_env(self) -> str | None:
        """Environment variable whose value is sent as the key; None = send none."""
        if self.api_key_file is not None:
            return None
        return self.api_key_env or (OPENAI_KEY_ENV if self.is_openai else None)

    @property
    def identity(self) -> str:
        """Host and path of the endpoint, model and revision; never a port, a scheme or a key."""
        parts = urlsplit(self.url)
        host = "localhost" if parts.hostname in _LOOPBACK else parts.hostname
        revision = f"@{self.revision}" if self.revision else ""
        return f"{host}{parts.path}:{self.model}{revision}"
