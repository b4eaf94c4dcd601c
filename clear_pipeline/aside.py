"""The rows of an input that cannot be used, on their way into a file."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Final

from clear_pipeline.durable import file_sha256, temporary_name, write_atomically
from clear_pipeline.load import Quarantined
from clear_pipeline.row_files import JsonLines

_TOLD: Final = 5
"""Bad rows that an error may name."""


class Aside:
    """The bad rows of one input, on their way into a file; it is not there without any.

    Args:
        path: Where they are to lie.

    Attributes:
        rows: How many there are.
        first: The first few of them.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._unfinished = path.with_name(temporary_name(f"{path.name}.rows"))
        self._lines: JsonLines | None = None
        self.rows = 0
        self.first: list[Quarantined] = []

    def add(self, row: Quarantined) -> None:
        """Append a row."""
        if self._lines is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._lines = JsonLines(self._unfinished)
        self._lines.write(asdict(row))
        self.rows += 1
        if len(self.first) < _TOLD:
            self.first.append(row)

    def publish(self) -> str:
        """Put the file in its place; its checksum, "" where there is none."""
        if self._lines is None:
            return ""
        self._lines.close()

        def put(temporary: Path) -> None:
            self._unfinished.replace(temporary)

        write_atomically(self._path, put)
        return file_sha256(self._path)

    def close(self) -> None:
        """Leave nothing unfinished."""
        if self._lines is not None:
            self._lines.close()
            self._unfinished.unlink(missing_ok=True)
