"""The base of every settings model."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """A frozen model whose unknown keys are errors: config, fingerprint and repr in one."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)
