"""How DATA is read."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from clear_pipeline.formats import FORMATS, MAX_DEPTH, Format
from clear_pipeline.settings import Settings


class LoadSettings(Settings):
    """How DATA is read: limits, and what to do where detection does not suffice."""

    name: ClassVar[str] = "load"
    version: ClassVar[int] = 5
    kind: Literal["load"] = "load"

    format: str | None = None
    """Format of every file; None = found out per file from its first rows."""
    formats: dict[str, str] = Field(default_factory=dict)
    """Format by pattern of the file's relative path (`*` matches `/` too), before `format`."""
    map: dict[str, str] | None = None
    """Columns by field: `{"prompt": "question", "response": "answer"}`."""
    limit: int | None = Field(default=None, ge=1)
    """Only the first so many rows of DATA, good and bad."""
    max_line_bytes: int = Field(default=1 << 20, ge=64, le=1 << 30)
    """A longer row is quarantined; it is skipped without being held in memory."""
    max_expansion: int = Field(default=1000, ge=1)
    """A file may become so many times its size when it is decompressed, and 64 MiB in any case."""
    max_depth: int = Field(default=MAX_DEPTH, ge=1, le=200)
    """Arrays and objects that may stand in each other in one row."""
    quarantine_text_chars: int = Field(default=2000, ge=0)
    """The raw text of a quarantined row is cut at this length."""
    shard_rows: int = Field(default=1000, ge=1)
    """Rows per shard; a file's last shard has fewer, as has one of very long rows."""

    @field_validator("format")
    @classmethod
    def _known(cls, name: str | None) -> str | None:
        if name is not None and name not in FORMATS:
            raise ValueError(f"no format {name!r}; there are {', '.join(FORMATS)}")
        return name

    @field_validator("formats")
    @classmethod
    def _all_known(cls, formats: dict[str, str]) -> dict[str, str]:
        for name in formats.values():
            cls._known(name)
        return formats

    @model_validator(mode="after")
    def _map_fits_a_format(self) -> Self:
        names = [self.format] if self.format else list(FORMATS)
        if self.map and not any(set(self.map) <= FORMATS[n].fields for n in names):
            fields = "; ".join(f"{n}: {', '.join(sorted(FORMATS[n].fields))}" for n in names)
            raise ValueError(
                f"map: {', '.join(self.map)} fit no format. Fields by format: {fields}"
            )
        return self

    def of_own_rows(self) -> LoadSettings:
        """For rows that this package wrote from DATA: all of them, in its form, in these limits."""
        return self.model_copy(update={"format": None, "formats": {}, "map": None, "limit": None})

    @property
    def mapped(self) -> list[Format]:
        """The formats with the columns of `map`, of all that have its fields; none without it."""
        columns = self.map or {}
        fitting = [f for f in FORMATS.values() if columns and set(columns) <= f.fields]
        return [f.mapped(columns) for f in fitting]

    def candidates(self, file: str) -> list[Format]:
        """The formats that a file may have, with the map before without: one's if it was given.

        Args:
            file: Relative path, or the name of a table in memory.
        """
        given = next((f for p, f in self.formats.items() if fnmatchcase(file, p)), self.format)
        both = [*self.mapped, *FORMATS.values()]
        return [f for f in both if given in (None, f.name)]
