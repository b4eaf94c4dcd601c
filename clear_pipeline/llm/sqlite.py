"""What the SQLite files of a run have in common: transactions, and what a damaged one is."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

BESIDE: Final = ("", "-wal", "-shm", "-journal")
"""Appended to a file's name: the file itself, and what SQLite keeps beside it and reads as its own,
whichever file it was written for."""
FAILURES: Final = (sqlite3.DatabaseError, UnicodeDecodeError)
"""What the sqlite3 module raises about a file: also that it cannot read SQLite's own message, where
that repeats a damaged name."""
_PRIMARY: Final = 0xFF
"""The bits of SQLite's extended error codes that tell the class of the error."""
_BROKEN: Final = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """All of what is written within, or, if it or the commit raises, nothing of it.

    Args:
        db: Opened with `isolation_level=None`.
    """
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:  # SQLite takes back itself what a full disk cut short
            db.execute("ROLLBACK")
        raise


def is_broken(error: Exception) -> bool:
    """Of `FAILURES`: whether the content is at fault, and not the disk or the leave to write."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)
    return code & _PRIMARY in _BROKEN
