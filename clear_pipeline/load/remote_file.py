"""Files of an object store as DATA: fetched one at a time, read as files of this machine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Final

from clear_pipeline.durable import TEMPORARY
from clear_pipeline.load.data_file import DataFile
from clear_pipeline.load.events import Event, Skipped
from clear_pipeline.load.files import made_here, note_or_cache
from clear_pipeline.load.settings import LoadSettings
from clear_pipeline.remote import Place

FETCHED: Final = f".fetched{TEMPORARY}"
"""The one file that is fetched; the next one takes its place, whatever a killed process left."""


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """One file of DATA elsewhere.

    Attributes:
        name: Its path relative to DATA, or its own name: as that of a local copy would be.
        place: Where it is.
        listed: Its bytes as they were listed; None where none are told.
    """

    name: str
    place: Place
    listed: int | None

    def stamp(self) -> str:
        """What the service tells of it that changes with its bytes, asked anew; "" if nothing."""
        return self.place.stamp()

    def digest(self) -> str:
        """SHA-256 of its bytes, all of which are fetched for it."""
        return self.place.sha256()

    def size(self) -> int:
        """Bytes as they were listed; 0 where none are told."""
        return self.listed or 0

    @contextmanager
    def here(self, directory: Path) -> Iterator[DataFile]:
        """The file fetched into a directory of this machine, until the context ends.

        Raises:
            RemoteError: It cannot be read to its end, or it changed meanwhile.
            UnwritableError: The disk is full.
        """
        path = directory / FETCHED
        try:
            fetched = self.place.fetch(path)
            yield DataFile(self.name, path, fetched.sha256, fetched.stamp)
        finally:
            path.unlink(missing_ok=True)

    def load(self, settings: LoadSettings, *, limit: int | None = None) -> Iterator[Event]:
        """Fetch it into the system's temporary directory and read it, see `DataFile.load`."""
        with (
            TemporaryDirectory(prefix="clear-pipeline-") as directory,
            self.here(Path(directory)) as file,
        ):
            yield from file.load(settings, limit=limit)


def remote_files(place: Place, skipped: list[Skipped]) -> list[RemoteFile]:
    """The files below a place that may hold rows: those that a local copy would have.

    Args:
        place: A directory.
        skipped: Gets what is left out, but for hidden files.
    """
    sizes = {entry.name: entry.size for entry in place.files() if not _hidden(entry.name)}
    own = _made_here(sizes)
    skipped += [Skipped(f"{folder}/", what) for folder, what in own.items()]
    read = cache(lambda name: (place / name).read())
    found = []
    for name in sorted(sizes, key=lambda name: PurePosixPath(name).parts):
        path = PurePosixPath(name)
        if own.keys() & {*map(str, path.parents)}:
            continue
        state, info = (str(path.with_name(n)) for n in ("state.json", "dataset_info.json"))
        saved = state in sizes and info in sizes
        reason = note_or_cache(path.name, saved=saved, state=partial(read, state))
        if "" in name.split("/"):
            reason = "a part of its path has no name"
        if reason is None:
            found.append(RemoteFile(name, place / name, sizes[name]))
        else:
            skipped.append(Skipped(name, reason))
    return found


def _hidden(name: str) -> bool:
    return any(part.startswith(".") for part in name.split("/"))


def _made_here(names: Iterable[str]) -> dict[str, str]:
    """The directories of this package's own and what they are, the outermost of each nest."""
    files = {PurePosixPath(name) for name in names}
    folders = {parent for file in files for parent in file.parents}
    found = ((folder, _what(folder, files, folders)) for folder in sorted(folders))
    own = {folder: what for folder, what in found if what is not None}
    return {str(f): what for f, what in own.items() if not own.keys() & {*f.parents}}


def _what(
    folder: PurePosixPath, files: set[PurePosixPath], folders: set[PurePosixPath]
) -> str | None:
    return made_here(lambda name: folder / name in files, lambda name: folder / name in folders)
