"""Where an export goes: a directory of this machine, or a place of an object store."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from clear_pipeline.durable import is_left_behind, temporary_name, write_atomically, writing
from clear_pipeline.remote import Place

_STAGING: Final = "export"


@contextmanager
def staging(target: Target) -> Iterator[Path]:
    """An empty directory for files on their way to a target, until the context ends.

    It is this process's alone: another one may export from the same run, or to the same place, at
    the same time. What exports that were killed left beside it is deleted.

    Raises:
        UnwritableError: The disk is full, or the directory may not be written.
    """
    for path in target.beside.glob(f".{_STAGING}.*"):
        if is_left_behind(path.name):
            shutil.rmtree(path, ignore_errors=True)
    folder = target.beside / temporary_name(_STAGING)
    with writing(folder):
        folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Target(Protocol):
    """Takes files that were written as a whole beside it."""

    @property
    def beside(self) -> Path:
        """The directory of this machine in which files are staged."""
        ...

    def shown(self, name: str) -> str:
        """The path or address of a file in it."""
        ...

    def holds(self, name: str) -> bool:
        """Whether a file of that name is there."""
        ...

    def take(self, source: Path) -> None:
        """Let a staged file appear under its name, complete or not at all."""
        ...

    def drop(self, name: str) -> None:
        """Delete a file, if it is there."""
        ...


@dataclass(frozen=True, slots=True)
class Directory:
    """One of this machine."""

    path: Path

    @property
    def beside(self) -> Path:
        """Itself, so that a file is only renamed."""
        return self.path

    def shown(self, name: str) -> str:
        """See `Target`."""
        return str(self.path / name)

    def holds(self, name: str) -> bool:
        """See `Target`."""
        return (self.path / name).exists()

    def take(self, source: Path) -> None:
        """See `Target`."""

        def move(temporary: Path) -> None:
            source.replace(temporary)

        write_atomically(self.path / source.name, move)

    def drop(self, name: str) -> None:
        """See `Target`."""
        (self.path / name).unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class RemoteDirectory:
    """One elsewhere.

    Attributes:
        place: Where.
        beside: Takes as much room as the export.
    """

    place: Place
    beside: Path

    def shown(self, name: str) -> str:
        """See `Target`."""
        return str(self.place / name)

    def holds(self, name: str) -> bool:
        """See `Target`."""
        return (self.place / name).exists()

    def take(self, source: Path) -> None:
        """See `Target`."""
        (self.place / source.name).put(source)

    def drop(self, name: str) -> None:
        """See `Target`."""
        (self.place / name).delete()
