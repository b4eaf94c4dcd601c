"""Files that are there as a whole or not at all, whenever the process or the machine stops."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from clear_pipeline.errors import UnwritableError

TEMPORARY: Final = ".tmp"
"""Ends the name of a file that is being written; one that a killed process left is no file."""
DAMAGED: Final = ".damaged"
"""Added to the name of a file that is set aside because it cannot be used any more."""
_OF_A_PROCESS: Final = re.compile(rf"\..+\.(\d+){re.escape(TEMPORARY)}")


def temporary_name(name: str) -> str:
    """A hidden name beside `name` that no other process of this machine writes to."""
    return f".{name}.{os.getpid()}{TEMPORARY}"


def is_left_behind(name: str) -> bool:
    """Whether a `temporary_name` is of a process that has ended.

    One with this process's number is of an earlier process that had it.
    """
    made = _OF_A_PROCESS.fullmatch(name)
    return made is not None and (int(made[1]) == os.getpid() or has_ended(int(made[1])))


def has_ended(process: int) -> bool:
    """Whether no process of this machine has the number."""
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return True
    except OSError:  # somebody else's
        pass
    return False


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Say which file it was that the operating system would not write.

    Raises:
        UnwritableError: In place of an `OSError`, which often names no file.
    """
    try:
        yield
    except OSError as error:
        said = os.strerror(error.errno) if error.errno else str(error) or type(error).__name__
        raise UnwritableError(path, said) from error


def write_atomically(
    path: Path, write: Callable[[Path], None], *, previous: Path | None = None
) -> None:
    """Let `write` fill a temporary file beside `path`, then make it durable under its name.

    After a crash the old content or the new is there, never a part of one.

    Args:
        path: What to write.
        write: Fills the file whose path it is given.
        previous: Where the old content stays. After a crash it may be there alone.

    Raises:
        UnwritableError: A full disk, or no leave to write there.
    """
    temporary = path.with_name(temporary_name(path.name))
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            write(temporary)
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            if previous is not None and path.exists():
                path.replace(previous)
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        sync_directory(path.parent)


def write_text_atomically(path: Path, text: str, *, previous: Path | None = None) -> None:
    """`write_atomically` for a text."""

    def write(temporary: Path) -> None:
        temporary.write_text(text, encoding="utf-8")

    write_atomically(path, write, previous=previous)


def sync_directory(directory: Path) -> None:
    """Make names that were added to a directory, or changed in it, durable."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
