"""The record of a run's batches: what is to be submitted, what is open, what failed how often.

Every step is committed before the next one is taken, so that a killed process is taken up where it
was: the intent before anything is sent, each id as soon as the provider has given it, the end of a
batch after its answers are in the cache.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

from clear_pipeline.errors import CallError, DamagedRunError, UnwritableError
from clear_pipeline.llm.batch.batch import Batch, usage_name
from clear_pipeline.llm.batch.lines import Question
from clear_pipeline.llm.meter import Amount, Totals
from clear_pipeline.llm.pricing import prices
from clear_pipeline.llm.settings import ModelSettings
from clear_pipeline.llm.sqlite import FAILURES, is_broken, transaction
from clear_pipeline.schema import JSON

RECORD: Final = "state.sqlite"
"""Name of the record in the folder of batches."""

_TABLES: Final = """
CREATE TABLE IF NOT EXISTS batches (
    number INTEGER PRIMARY KEY, tag TEXT NOT NULL, stage TEXT NOT NULL, round INTEGER NOT NULL,
    offline INTEGER NOT NULL, model TEXT NOT NULL, requests INTEGER NOT NULL,
    tokens INTEGER NOT NULL, sha256 TEXT NOT NULL, state TEXT NOT NULL, file_id TEXT,
    batch_id TEXT, answered INTEGER NOT NULL DEFAULT 0, failed INTEGER NOT NULL DEFAULT 0,
    ended INTEGER NOT NULL DEFAULT 0, totals TEXT,
    most_tokens INTEGER NOT NULL, most_nanodollars INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS requests (
    number INTEGER NOT NULL, id TEXT NOT NULL, hash TEXT NOT NULL, start INTEGER NOT NULL,
    stop INTEGER NOT NULL, question TEXT NOT NULL, PRIMARY KEY (number, id)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS requests_by_hash ON requests (hash);
CREATE TABLE IF NOT EXISTS failures (
    id TEXT PRIMARY KEY, attempts INTEGER NOT NULL, kind TEXT NOT NULL, message TEXT NOT NULL,
    transient INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS dialects (
    identity TEXT PRIMARY KEY, learned TEXT NOT NULL) WITHOUT ROWID;
"""

_COLUMNS: Final = (
    "number, tag, stage, round, offline, model, requests, tokens, sha256, state, file_id,"
    " batch_id, answered, failed, most_tokens, most_nanodollars"
)


class Record:
    """The SQLite file.

    Args:
        path: Made if absent, with its folder.
        read_only: Whether it is only looked at, and must be there.

    Raises:
        DamagedRunError: The file is no record of batches, or damaged.
        UnwritableError: It cannot be written; or read, while a writer has it, or as long as a
            killed one's last step has not been taken back by the next.
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self._path = path
        with self._explained():
            if read_only:
                uri = f"{path.resolve().as_uri()}?mode=ro"
                self._db = sqlite3.connect(uri, uri=True, isolation_level=None)
                return
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, isolation_level=None)
            # A lost intent could be a batch that is paid for twice: commits survive a power cut.
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.executescript(_TABLES)

    def open(self) -> list[Batch]:
        """The batches whose results are not all in the cache, the oldest first."""
        with self._explained():
            query = f"SELECT {_COLUMNS} FROM batches WHERE NOT ended ORDER BY number"  # noqa: S608
            return [_batch(row) for row in self._db.execute(query)]

    def next_number(self) -> int:
        """Of the next batch."""
        return self._number("SELECT COALESCE(MAX(number), 0) + 1 FROM batches")

    def rounds(self, stage: str) -> int:
        """In how many rounds the questions of a stage have been submitted so far."""
        return self._number("SELECT COALESCE(MAX(round), 0) FROM batches WHERE stage = ?", stage)

    def enqueued_tokens(self, identity: str) -> int:
        """Prompt tokens of a model in open batches."""
        return sum(batch.tokens for batch in self.open() if batch.model.identity == identity)

    def intend(self, batch: Batch, questions: Iterable[Question]) -> None:
        """Enter a batch that is about to be submitted, with all that it asks."""
        rows = (
            (batch.number, q.id, q.hash, q.request.samples.start, q.request.samples.stop,
             q.to_json())
            for q in questions
        )  # fmt: skip
        values = (
            batch.number, batch.tag, batch.stage, batch.round, batch.offline,
            batch.model.model_dump_json(), batch.requests, batch.tokens, batch.sha256, batch.state,
            batch.most.tokens, batch.most.nanodollars,
        )  # fmt: skip
        with self._transaction():
            self._db.execute(
                "INSERT INTO batches (number, tag, stage, round, offline, model, requests, tokens,"
                " sha256, state, most_tokens, most_nanodollars)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                values,
            )
            self._db.executemany("INSERT INTO requests VALUES (?, ?, ?, ?, ?, ?)", rows)

    def update(self, batch: Batch) -> None:
        """Enter what is newly known of a batch."""
        with self._transaction():
            self._db.execute(
                "UPDATE batches SET state = ?, file_id = ?, batch_id = ?, answered = ?, failed = ?"
                " WHERE number = ?",
                (
                    batch.state, batch.file_id, batch.batch_id, batch.answered, batch.failed,
                    batch.number,
                ),
            )  # fmt: skip

    def asked(self, batch: Batch) -> dict[str, Question]:
        """What a batch asks, by id; the requests have no messages."""
        with self._explained():
            rows = self._db.execute(
                "SELECT id, question FROM requests WHERE number = ?", (batch.number,)
            )
            return {name: Question.from_json(text) for name, text in rows}

    def in_flight(self, question: Question) -> bool:
        """Whether an open batch asks for any of these samples."""
        samples = question.request.samples
        return bool(
            self._number(
                "SELECT COUNT(*) FROM requests WHERE hash = ? AND start < ? AND stop > ?",
                question.hash,
                samples.stop,
                samples.start,
            )
        )

    def waiting(self) -> int:
        """Requests in open batches."""
        return self._number("SELECT COUNT(*) FROM requests")

    def end(
        self, batch: Batch, *, failures: Mapping[str, CallError], totals: Totals | None = None
    ) -> None:
        """Close a batch: nothing of it is in flight any more.

        Args:
            batch: In its last state.
            failures: By id, requests that got no answer; counted as one attempt more.
            totals: What the answers took.
        """
        rows = [(id_, e.kind, e.message, e.transient) for id_, e in failures.items()]
        with self._transaction():
            self._db.execute(
                "UPDATE batches SET ended = 1, state = ?, answered = ?, failed = ?, totals = ?"
                " WHERE number = ?",
                (
                    batch.state, batch.answered, batch.failed,
                    None if totals is None else json.dumps(totals.to_json()), batch.number,
                ),
            )  # fmt: skip
            self._db.execute("DELETE FROM requests WHERE number = ?", (batch.number,))
            self._db.executemany(
                "INSERT INTO failures VALUES (?, 1, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET"
                " attempts = attempts + 1, kind = excluded.kind, message = excluded.message,"
                " transient = excluded.transient",
                rows,
            )

    def failure(self, id_: str, *, max_attempts: int) -> CallError | None:
        """Why a request is not asked again: the error is final, or its attempts are used up."""
        with self._explained():
            row = self._db.execute(
                "SELECT attempts, kind, message, transient FROM failures WHERE id = ?", (id_,)
            ).fetchone()
        if row is None or (row[3] and row[0] < max_attempts):
            return None
        return CallError(row[1], row[2], transient=bool(row[3]))

    def finish(self, stage: str) -> None:
        """A stage has come to its end: a later run of it starts its rounds anew."""
        with self._transaction():
            self._db.execute("UPDATE batches SET round = 0 WHERE stage = ? AND ended", (stage,))

    def forgive(self) -> None:
        """The run has come to its end: a later one starts the attempts of each request anew."""
        with self._transaction():
            self._db.execute("DELETE FROM failures")

    def learned(self, identity: str) -> dict[str, Any] | None:
        """What is known of an endpoint's dialect, see `Dialect.learned`."""
        with self._explained():
            query = "SELECT learned FROM dialects WHERE identity = ?"
            row = self._db.execute(query, (identity,)).fetchone()
        return None if row is None else dict(json.loads(row[0]))

    def learn(self, identity: str, learned: Mapping[str, JSON]) -> None:
        """Keep what is known of an endpoint's dialect for later visits."""
        with self._transaction():
            self._db.execute(
                "INSERT OR REPLACE INTO dialects VALUES (?, ?)", (identity, json.dumps(learned))
            )

    def totals(self) -> dict[str, Totals]:
        """By `usage_name` of the model: what ended batches took, open ones as unaccounted.

        Of an ended one, replies without a count are unaccounted too.
        A model whose batches all came to nothing has totals of 0.
        """
        found: dict[str, Totals] = {}
        with self._explained():
            query = f"SELECT {_COLUMNS}, ended, totals FROM batches ORDER BY number"  # noqa: S608
            for *row, ended, text in self._db.execute(query).fetchall():
                batch = _batch(tuple(row))
                total = Totals(usd=None if prices(batch.model) is None else 0.0)
                if not ended:
                    total += Totals(requests=batch.requests, unaccounted=batch.most)
                elif text is not None:
                    total += Totals.from_json(json.loads(text))
                name = usage_name(batch.model.model)
                found[name] = found.get(name, Totals()) + total
        return found

    def reserved(self) -> Amount:
        """The most that open batches can take: a part of what is unaccounted in `totals`."""
        return sum((batch.most for batch in self.open()), Amount())

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _number(self, query: str, *values: str | int) -> int:
        with self._explained():
            return int(self._db.execute(query, values).fetchone()[0])

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._explained(), transaction(self._db):
            yield

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except FAILURES as error:
            if not is_broken(error):
                raise UnwritableError(self._path, str(error)) from error
            raise DamagedRunError(
                f"{self._path}: the record of batches is damaged ({error}); restore it, or delete "
                "it, and with it what is known of open batches: their questions are asked anew"
            ) from error


def read_totals(folder: Path) -> dict[str, Totals]:
    """`Record.totals` of the batches in a folder, also while their run goes on.

    Empty where there are none.

    Raises:
        DamagedRunError: The record is damaged.
        UnwritableError: It cannot be read now, see `Record`.
    """
    path = folder / RECORD
    if not path.is_file():
        return {}
    with closing(Record(path, read_only=True)) as record:
        return record.totals()


def read_reserved(folder: Path) -> Amount:
    """`Record.reserved` of the batches in a folder; as `read_totals`."""
    path = folder / RECORD
    if not path.is_file():
        return Amount()
    with closing(Record(path, read_only=True)) as record:
        return record.reserved()


def _batch(row: tuple[Any, ...]) -> Batch:
    number, tag, stage, round_, offline, model, requests, *plain, tokens, nanodollars = row
    settings = ModelSettings.model_validate_json(model)
    most = Amount(requests, tokens, nanodollars)
    values = (number, tag, stage, round_, bool(offline), settings, requests, *plain, most)
    return Batch(*values)
