"""A damaged file of answers is set aside, and what can still be read of it is taken over."""

from __future__ import annotations

import logging
import operator
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from itertools import count
from pathlib import Path
from typing import Final

from clear_pipeline.durable import DAMAGED, write_atomically, writing
from clear_pipeline.errors import UnwritableError
from clear_pipeline.llm.answers import SCHEMA, TABLE, connected, is_sound
from clear_pipeline.llm.sqlite import BESIDE, FAILURES, is_broken, transaction

logger = logging.getLogger(__name__)

_MAGIC: Final = b"SQLite format 3\0"
_HEADER: Final = 100
"""Bytes at the start of an SQLite file, before the schema."""
_FLIPPED: Final = 8
"""So many bytes of a schema may be damaged and are mended."""
_RANGES: Final = 16**3
"""Into so many parts the keys are divided where a damaged file is read."""
_RESCUED: Final = ".rescued"
"""Added to the name of a file for the whole new one, until it has its place."""


def set_damaged_aside(path: Path) -> str | None:
    """Look through a file of answers; put a new one in the place of a damaged one.

    Only for the process that holds the run, as long as it has not opened the file. The damaged file
    stays under a name that was free, and every answer that can still be read is taken over. It is
    read where it lies, beside its own log, and moved once the new file is whole on the disk: a
    process killed meanwhile loses nothing.

    Returns:
        What was found and done, in one line; None for a sound file, or none.

    Raises:
        UnwritableError: The new file cannot be written; the damaged one is where it was.
    """
    rescued = _beside(path, _RESCUED)
    if not path.is_file():
        if rescued.is_file():  # a process was killed while it changed the files over
            _change_over(path, rescued)
            return (
                f"{path}: damaged, and set aside by a run that was killed; what could be read of "
                "it is taken over, the other answers are asked again"
            )
        return None
    found = _damage(path)
    if found is None:
        return None
    saved = 0

    def write(temporary: Path) -> None:
        nonlocal saved
        saved = _save(path, temporary)

    try:
        write_atomically(rescued, write)
    except sqlite3.Error as error:
        raise UnwritableError(rescued, str(error)) from error
    aside = _change_over(path, rescued)
    return (
        f"{path}: damaged ({found}); set aside as {aside.name}, "
        f"{saved:,} answers taken over, the others are asked again"
    )


def _damage(path: Path) -> str | None:
    """What is wrong with a file, in at most 100 characters; None if nothing is."""
    try:
        with closing(connected(path)) as db:
            found = str(db.execute("PRAGMA quick_check(1)").fetchone()[0])
            schema = db.execute("SELECT type, name, sql FROM sqlite_schema").fetchall()
        if found == "ok" and schema not in ([], [("table", "answers", SCHEMA)]):
            found = "its schema is another one"
    except FAILURES as error:
        if not is_broken(error):
            return None  # opening it for use says what is wrong
        found = str(error)
    return None if found == "ok" else " ".join(found.split())[:100]


def _change_over(path: Path, rescued: Path) -> Path:
    """Move a damaged file, and all that belongs to it, out of the way of the new one; where to.

    The new file comes last: SQLite would take a log that lies beside it for its own.
    """
    aside = next(filter(_is_free, _names_aside(path)))
    with writing(path):
        for suffix in BESIDE:
            with suppress(FileNotFoundError):
                _beside(path, suffix).replace(_beside(aside, suffix))
        rescued.replace(path)
    return aside


def _names_aside(path: Path) -> Iterator[Path]:
    yield _beside(path, DAMAGED)
    for number in count(2):
        yield _beside(path, f"{DAMAGED}-{number}")


def _is_free(path: Path) -> bool:
    """Whether nothing of an earlier rescue has the name, or lies beside it."""
    return not any(_beside(path, suffix).exists() for suffix in BESIDE)


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _save(damaged: Path, path: Path) -> int:
    """Copy the sound rows into a new file; how many they are.

    Keys are hex digits and are looked up in narrow ranges, so that a page that cannot be read
    costs its own rows and no others.
    """
    _lengthen(damaged)
    _mend_schema(damaged, path)
    path.unlink(missing_ok=True)
    with closing(connected(damaged)) as old, closing(connected(path)) as new:
        new.execute("PRAGMA journal_mode = MEMORY")  # unfinished, it is thrown away: one file
        new.execute(TABLE)
        with transaction(new):
            for number in range(_RANGES):
                begin, end = f"{number:03x}", f"{number + 1:03x}" if number + 1 < _RANGES else "g"
                new.executemany(
                    "INSERT OR IGNORE INTO answers VALUES (?, ?, ?)", _sound(old, begin, end)
                )
        return int(new.execute("SELECT count(*) FROM answers").fetchone()[0])


def _sound(damaged: sqlite3.Connection, begin: str, end: str) -> list[tuple[str, bytes, str]]:
    """The rows from key to key whose checksum holds; none if a page of them cannot be read."""
    try:
        rows = damaged.execute(
            "SELECT key, CAST(value AS BLOB), checksum FROM answers WHERE key >= ? AND key < ?",
            (begin, end),
        )
        return [row for row in rows if is_sound(*row)]
    except FAILURES as error:
        logger.debug("answers %s to %s: %s", begin, end, error)
        return []


def _mend_schema(damaged: Path, scratch: Path) -> None:
    """Give the first page the schema of a new file, which is the same in every file of answers.

    Where more than a few bytes differ, it is not damaged but another one, and is let alone.
    """
    scratch.unlink(missing_ok=True)
    with closing(connected(scratch)) as new:
        new.execute(TABLE)
        size = int(new.execute("PRAGMA page_size").fetchone()[0])
    first = scratch.read_bytes()[_HEADER:size]
    with damaged.open("rb+") as file:
        page = file.read(size)
        differing = sum(map(operator.ne, page[_HEADER:], first))
        if page.startswith(_MAGIC) and len(page) == size and differing <= _FLIPPED:
            file.seek(_HEADER)
            file.write(first)


def _lengthen(damaged: Path) -> None:
    """Fill a file that was cut off up to the length in its header: else SQLite reads none of it."""
    with damaged.open("rb+") as file:
        header = file.read(32)
        length = int.from_bytes(header[16:18], "big") * int.from_bytes(header[28:32], "big")
        if header.startswith(_MAGIC) and length > damaged.stat().st_size:
            with suppress(OSError):  # the header itself is damaged: there is no such length
                file.truncate(length)
