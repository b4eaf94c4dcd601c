"""What computed the parts of a score: only parts from the same source mean the same."""

from __future__ import annotations

from typing import Any, Final

from pydantic import Field

from clear_pipeline.settings import Settings

SCORED_BY: Final = b"scored_by"
"""Key of a probe file's Parquet metadata: by preset, a `ScoredBy`, as JSON."""


class ScoredBy(Settings):
    """A model, and how it was asked."""

    model: str
    """Identity of the scoring model."""
    preset: str = ""
    settings: dict[str, Any] = Field(default_factory=dict)
    """All settings of the score stage."""
