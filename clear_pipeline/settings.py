"""The base of every settings model."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationError

from clear_pipeline.errors import DamagedRunError
from clear_pipeline.schema import JSON


class Settings(BaseModel):
    """A frozen model whose unknown keys are errors: config, fingerprint and repr in one."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    def identity(self) -> dict[str, JSON]:
        """What of the settings decides a result; enters fingerprints and the manifest.

        All of them, unless a setting names something outside, such as files: then the content.
        """
        return self.model_dump(mode="json")

    @classmethod
    def from_file(cls, path: Path) -> Self | None:
        """As JSON in a file of a directory of results; None if there is no such file.

        Raises:
            DamagedRunError: The file is not as it was written.
        """
        try:
            return cls.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return None
        except ValidationError as error:
            raise DamagedRunError(
                f"{path}: is not as it was written ({error.error_count()} faults); restore it, or "
                "give another --out"
            ) from error
