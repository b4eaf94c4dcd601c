"""A transaction of a run's SQLite files is whole or not there, and the file goes on."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from clear_pipeline.llm.sqlite import transaction


@pytest.fixture
def db() -> Iterator[sqlite3.Connection]:
    """A table of numbers; those that are not `allowed`, all but 1, fail at the commit."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as opened:
        opened.execute("PRAGMA foreign_keys = ON")
        opened.execute("CREATE TABLE allowed (n INTEGER PRIMARY KEY)")
        opened.execute("CREATE TABLE numbers (n REFERENCES allowed DEFERRABLE INITIALLY DEFERRED)")
        opened.execute("INSERT INTO allowed VALUES (1)")
        yield opened


def _numbers(db: sqlite3.Connection) -> list[int]:
    return [n for (n,) in db.execute("SELECT n FROM numbers")]


def test_what_raises_within_is_taken_back(db: sqlite3.Connection) -> None:
    """Of two rows neither is there if the second cannot be, and the next transaction begins."""
    with pytest.raises(sqlite3.ProgrammingError), transaction(db):
        db.executemany("INSERT INTO numbers VALUES (?)", [(1,), (object(),)])
    assert _numbers(db) == []
    with transaction(db):
        db.execute("INSERT INTO numbers VALUES (1)")
    assert _numbers(db) == [1]


def test_a_commit_that_fails_is_taken_back(db: sqlite3.Connection) -> None:
    """Else the transaction stays open, and every later one is refused."""
    with pytest.raises(sqlite3.IntegrityError), transaction(db):
        db.execute("INSERT INTO numbers VALUES (2)")
    assert not db.in_transaction
    assert _numbers(db) == []


def test_what_sqlite_took_back_itself_is_told_as_it_was(db: sqlite3.Connection) -> None:
    """The error is the first one, not that there is no transaction any more to take back."""
    db.execute(
        "CREATE TRIGGER full BEFORE INSERT ON numbers BEGIN SELECT RAISE(ROLLBACK, 'full'); END"
    )
    with pytest.raises(sqlite3.IntegrityError, match="full"), transaction(db):
        db.execute("INSERT INTO numbers VALUES (1)")
    assert not db.in_transaction
