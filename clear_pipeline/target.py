"""Where an export goes: a directory of this machine, or a place of an object store."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from clear_pipeline.durable import TEMPORARY, write_atomically
from clear_pipeline.remote import Place

_STAGING: Final = f".export{TEMPORARY}"


class Target(Protocol):
    """Takes files that were written as a whole beside it."""

    @property
    def staging(self) -> Path:
        """A directory of this machine for files on their way; not there yet."""
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
    def staging(self) -> Path:
        """Within it, so that a file is only renamed."""
        return self.path / _STAGING

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
        beside: The directory of this machine in which files are staged.
    """

    place: Place
    beside: Path

    @property
    def staging(self) -> Path:
        """Takes as much room as the export."""
        return self.beside / _STAGING

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
