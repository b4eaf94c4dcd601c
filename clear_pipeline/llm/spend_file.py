"""`spend.sqlite`: every request of a run, on the disk before it is sent.

The one owner of what a run has spent, over all its resumes: a request that a killed process left
open is unaccounted from then on.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Final

from clear_pipeline.errors import DamagedRunError, UnwritableError
from clear_pipeline.llm.base import Usage
from clear_pipeline.llm.meter import Amount, Totals, nanodollars
from clear_pipeline.llm.pricing import cost
from clear_pipeline.llm.settings import Prices
from clear_pipeline.llm.spend import Reservation, Spend, Sum, most_nanodollars
from clear_pipeline.llm.sqlite import FAILURES, is_broken, transaction

_TABLE: Final = """
CREATE TABLE IF NOT EXISTS requests (
    id INTEGER PRIMARY KEY,
    time REAL NOT NULL,
    model TEXT NOT NULL,
    calls INTEGER NOT NULL,
    most_prompt INTEGER NOT NULL,
    most_completion INTEGER NOT NULL,
    most_nanodollars INTEGER,
    state TEXT NOT NULL CHECK (state IN ('open', 'settled', 'unaccounted')),
    prompt INTEGER NOT NULL DEFAULT 0,
    cached INTEGER NOT NULL DEFAULT 0,
    cache_write INTEGER NOT NULL DEFAULT 0,
    completion INTEGER NOT NULL DEFAULT 0,
    nanodollars INTEGER
)
"""
"""`time` in seconds since 1970; `most_*` is the upper bound, what stands after `state` is the bill.
Prices that are not known are null. `calls` is more than 1 in what an older manifest knew; its lost
tokens, whose kind it did not tell, stand in `most_completion`, without a prompt."""

_SUMS: Final = """
SELECT model, sum(calls), sum(prompt), sum(cached), sum(completion), sum(cache_write),
    sum(iif(state = 'settled', nanodollars, 0 * most_nanodollars)),
    sum(iif(state = 'settled', 0, calls)),
    sum(iif(state = 'settled', 0, most_prompt + most_completion)),
    sum(iif(state = 'settled', 0, coalesce(most_nanodollars, 0)))
FROM requests GROUP BY model ORDER BY min(id)
"""
"""The dollars are null only where no price is known: a request without a bill adds 0 to them."""


class SpendFile(Spend):
    """The sums in a file. One process writes, so at its start no request is in flight.

    A bill is in the sums at once, and in the file with the next request that is entered, or with
    `flush`. One that a killed process did not write down leaves its request at its bound.

    Args:
        path: The SQLite file, made if absent.
        earlier: What a run that has no such file yet knows to have spent, by model.

    Raises:
        DamagedRunError: The file is no record of spend, or damaged.
        UnwritableError: It cannot be written.
    """

    def __init__(self, path: Path, *, earlier: Mapping[str, Totals]) -> None:
        super().__init__()
        self._path = path
        with _explained(path):
            self._db = sqlite3.connect(path, isolation_level=None)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = NORMAL")
            self._db.execute(_TABLE)
            self._db.execute("UPDATE requests SET state = 'unaccounted' WHERE state = 'open'")
            if self._db.execute("SELECT 1 FROM requests LIMIT 1").fetchone() is None:
                self._adopt(earlier)
            self._sums = _sums(self._db)
            newest = self._db.execute("SELECT max(id) FROM requests").fetchone()[0]
        self._ids = count((newest or 0) + 1)
        self._bills: list[tuple[int | None, ...]] = []

    def enter(self, reservations: Sequence[Reservation]) -> None:
        """Enter requests; on return they are on the disk and survive a power cut."""
        now = time.time()
        rows = []
        for each in reservations:
            each.id = next(self._ids)
            usd = None if each.prices is None else each.amount.nanodollars
            rows.append((each.id, now, each.model, each.most.prompt, each.most.completion, usd))
        with _explained(self._path), self._durable():
            self._write_bills()
            self._db.executemany(
                "INSERT INTO requests (id, time, model, calls, most_prompt, most_completion,"
                " most_nanodollars, state) VALUES (?, ?, ?, 1, ?, ?, ?, 'open')",
                rows,
            )
        self._bills.clear()
        super().enter(reservations)

    # The rest is not synced: should a power cut take it back, the request counts at its bound.

    def flush(self) -> None:
        """Write down the bills that came since the last time."""
        if self._bills:
            with _explained(self._path), transaction(self._db):
                self._write_bills()
            self._bills.clear()

    def settle(self, reservation: Reservation, usage: Usage) -> float | None:
        """Enter the bill of a request."""
        usd = super().settle(reservation, usage)
        price = None if usd is None else nanodollars(usd)
        counts = (usage.prompt, usage.cached, usage.cache_write, usage.completion)
        self._bills.append((*counts, price, reservation.id))
        return usd

    def give_up(self, reservation: Reservation) -> None:
        """The request counts at its bound."""
        super().give_up(reservation)
        self._write("UPDATE requests SET state = 'unaccounted' WHERE id = ?", reservation.id)

    def withdraw(self, reservation: Reservation) -> None:
        """The request was not sent after all."""
        super().withdraw(reservation)
        self._write("DELETE FROM requests WHERE id = ?", reservation.id)

    def price_earlier(self, model: str, prices: Prices) -> None:
        """Put a price on requests of a model from before its price was known."""
        query = (
            "SELECT id, state, prompt, cached, completion, cache_write, most_prompt,"
            " most_completion FROM requests WHERE model = ?"
            " AND iif(state = 'settled', nanodollars, most_nanodollars) IS NULL"
        )
        self.flush()
        with _explained(self._path), transaction(self._db):
            for row, state, *counts in self._db.execute(query, (model,)).fetchall():
                if state == "settled":
                    price, column = nanodollars(cost(Usage(*counts[:4]), prices)), "nanodollars"
                else:
                    price, column = _bound(counts[4], counts[5], prices), "most_nanodollars"
                self._db.execute(f"UPDATE requests SET {column} = ? WHERE id = ?", (price, row))  # noqa: S608
            self._sums = _sums(self._db)

    def close(self) -> None:
        """Give up the requests that are still open, and close the file."""
        super().close()
        self.flush()
        with suppress(sqlite3.OperationalError):  # somebody is reading: it stays as it is
            self._db.execute("PRAGMA journal_mode = DELETE")  # one file, readable on any disk
        self._db.close()

    def _write_bills(self) -> None:
        self._db.executemany(
            "UPDATE requests SET state = 'settled', prompt = ?, cached = ?, cache_write = ?,"
            " completion = ?, nanodollars = ? WHERE id = ?",
            self._bills,
        )

    def _write(self, query: str, *values: object) -> None:
        with _explained(self._path):
            self._db.execute(query, values)

    def _adopt(self, earlier: Mapping[str, Totals]) -> None:
        with self._durable():
            for model, totals in earlier.items():
                lost, usage = totals.unaccounted, totals.usage
                dollars = None if totals.usd is None else nanodollars(totals.usd)
                self._db.execute(
                    "INSERT INTO requests (time, model, calls, most_prompt, most_completion,"
                    " most_nanodollars, state, prompt, cached, cache_write, completion,"
                    " nanodollars) VALUES (?, ?, ?, 0, 0, 0, 'settled', ?, ?, ?, ?, ?)",
                    (time.time(), model, totals.requests - lost.calls, usage.prompt, usage.cached,
                     usage.cache_write, usage.completion, dollars),
                )  # fmt: skip
                if lost.calls:
                    self._db.execute(
                        "INSERT INTO requests (time, model, calls, most_prompt, most_completion,"
                        " most_nanodollars, state) VALUES (?, ?, ?, 0, ?, ?, 'unaccounted')",
                        (
                            time.time(),
                            model,
                            lost.calls,
                            lost.tokens,
                            None if dollars is None else lost.nanodollars,
                        ),
                    )

    @contextmanager
    def _durable(self) -> Iterator[None]:
        """A transaction that is on the disk when it ends."""
        self._db.execute("PRAGMA synchronous = FULL")
        try:
            with transaction(self._db):
                yield
        finally:
            self._db.execute("PRAGMA synchronous = NORMAL")


def read_spend(path: Path) -> dict[str, Totals] | None:
    """The sums of a run's file, also while the run goes on; None where there is none.

    A request that is in flight counts as unaccounted.

    Raises:
        DamagedRunError: The file is no record of spend.
    """
    if not path.is_file():
        return None
    with _explained(path):
        db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
        try:
            return {model: each.totals for model, each in _sums(db).items()}
        finally:
            db.close()


def _bound(prompt: int, completion: int, prices: Prices) -> int:
    """The most that a request without a bill can have cost, in billionths of a dollar."""
    bound = most_nanodollars(Usage(prompt=prompt, completion=completion), prices)
    if prompt:
        return bound
    return max(bound, most_nanodollars(Usage(prompt=completion), prices))  # of either kind


def _sums(db: sqlite3.Connection) -> dict[str, Sum]:
    sums = {}
    for model, calls, prompt, cached, completion, written, dollars, *lost in db.execute(_SUMS):
        usage = Usage(prompt, cached, completion, written)
        sums[model] = Sum(calls, usage, dollars, Amount(*lost))
    return sums


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except FAILURES as error:
        if not is_broken(error):
            raise UnwritableError(path, str(error)) from error
        raise DamagedRunError(
            f"{path}: the record of what was spent is damaged ({error}); move its -wal and -shm "
            "away, then restore it, or move it away as well: the same command then goes on from "
            "the sums in manifest.json, which lack what was spent after it was last written"
        ) from error
