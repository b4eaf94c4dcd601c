"""How a run asks its questions, and how large its batches are. Outside every fingerprint."""

from __future__ import annotations

from typing import Literal, TypeAlias

from pydantic import Field

from clear_pipeline.settings import Settings

Mode: TypeAlias = Literal["live", "batch", "offline"]
"""live: each question at once. batch: through the provider's batch endpoint. offline: files for an
engine that is started by hand."""


class BatchSettings(Settings):
    """Limits of one batch, and of all that are open at once; OpenAI's unless changed."""

    max_requests: int = Field(default=50_000, ge=1)
    """Requests in one batch."""
    max_bytes: int = Field(default=200_000_000, ge=1)
    """Size of the file of one batch."""
    max_enqueued_tokens: int | None = Field(default=None, ge=1)
    """Prompt tokens of one model in all open batches, as the provider's rate limits have them;
    None = no limit. They are estimated, see `lines.prompt_tokens`."""
    completion_window: str = Field(default="24h", min_length=1)
    """After this time the provider lets a batch expire; OpenAI takes 24h alone."""
