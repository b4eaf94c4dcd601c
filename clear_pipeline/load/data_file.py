"""One file of this machine as DATA."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from clear_pipeline.durable import file_sha256
from clear_pipeline.load.detect import open_source
from clear_pipeline.load.events import Event, FileError, Skipped
from clear_pipeline.load.rows import load_rows
from clear_pipeline.load.settings import LoadSettings


@dataclass(frozen=True, slots=True)
class DataFile:
    """One file of DATA.

    Attributes:
        name: Its path relative to DATA, with `/`, or its own name.
        path: Where it lies.
        sha256: Of its bytes, if it was fetched.
        stamp: As in `RemoteFile`, if it was fetched.
    """

    name: str
    path: Path
    sha256: str = ""
    stamp: str = ""

    def digest(self) -> str:
        """SHA-256 of its bytes."""
        return self.sha256 or file_sha256(self.path)

    def size(self) -> int:
        """Bytes on disk."""
        return self.path.stat().st_size

    def here(self, _directory: Path) -> AbstractContextManager[DataFile]:
        """Itself, see `RemoteFile.here`."""
        return nullcontext(self)

    def load(self, settings: LoadSettings, *, limit: int | None = None) -> Iterator[Event]:
        """Read it with bounded memory.

        Args:
            settings: Limits and formats. Its own `limit` is of all of DATA and not looked at.
            limit: At most so many rows of this file, good and bad.

        Yields:
            `FileFacts`, then `LoadedShard` and `Quarantined` in the order of the rows (a shard
            when its last row was read), then `Problem`; or one `Skipped` and nothing else.
        """
        candidates = settings.candidates(self.name)
        try:
            source = open_source(self.path, settings, candidates, name=self.name)
        except FileError as error:
            yield Skipped(self.name, str(error))
            return
        yield from load_rows(self.name, source, settings, limit=limit)
