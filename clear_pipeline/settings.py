"""The base of every settings model."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from clear_pipeline.schema import JSON


class Settings(BaseModel):
    """A frozen model whose unknown keys are errors: config, fingerprint and repr in one."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    def identity(self) -> dict[str, JSON]:
        """What of the settings decides a result; enters fingerprints and the manifest.

        All of them, unless a setting names something outside, such as files: then the content.
        """
        return self.model_dump(mode="json")
