"""Questions of one pass over a stage's rows that no batch asks yet, on disk and not in memory."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from clear_pipeline.errors import CallError
from clear_pipeline.llm.batch.lines import Question, prompt_tokens, request_line
from clear_pipeline.llm.batch.settings import BatchSettings
from clear_pipeline.llm.meter import Amount
from clear_pipeline.llm.settings import Prices
from clear_pipeline.llm.spend import most_nanodollars
from clear_pipeline.llm.wire import Body, usage_bound


@dataclass(frozen=True, slots=True)
class Part:
    """Questions that make one batch: the rows of `Queue` from `first` to `last`.

    `tokens` is an estimate of those of the prompts, `most` the upper bound of all that is billed.
    """

    first: int
    last: int
    requests: int = 0
    tokens: int = 0
    most: Amount = field(default_factory=Amount)


class Queue:
    """Questions to one model, each once, in the order in which they came.

    Args:
        limits: Of one batch, and of the tokens of all open ones.
        prices: Of the model; None where they are not known.
        at_batch_price: Whether its batch price holds.
    """

    def __init__(
        self, limits: BatchSettings, *, prices: Prices | None = None, at_batch_price: bool = True
    ) -> None:
        self._limits = limits
        self._prices = prices
        self._at_batch_price = at_batch_price
        # An empty name is a file of SQLite's own that goes with the connection.
        self._db = sqlite3.connect("", isolation_level=None)
        self._db.execute(
            "CREATE TABLE queue (place INTEGER PRIMARY KEY, id TEXT UNIQUE, question TEXT,"
            " line TEXT, bytes INTEGER, tokens INTEGER, most_tokens INTEGER,"
            " most_nanodollars INTEGER)"
        )

    def __len__(self) -> int:
        return int(self._db.execute("SELECT COUNT(*) FROM queue").fetchone()[0])

    def add(self, question: Question, body: Body) -> None:
        """Take a question in, if it is not there yet.

        Raises:
            CallError: It cannot be part of any batch.
        """
        line, tokens = request_line(question, body), prompt_tokens(body)
        try:
            size = len(line.encode())
        except UnicodeEncodeError as error:
            raise CallError(
                "bad_request", f"not sendable as UTF-8: {error}", transient=False
            ) from None
        if size > self._limits.max_bytes or tokens > (self._limits.max_enqueued_tokens or tokens):
            raise CallError(
                "bad_request",
                f"{size:,} bytes and about {tokens:,} tokens are more than a batch may have: raise "
                "batch.max_bytes or batch.max_enqueued_tokens, or run with --mode live",
                transient=False,
            )
        self._db.execute(
            "INSERT OR IGNORE INTO queue (id, question, line, bytes, tokens, most_tokens,"
            " most_nanodollars) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (question.id, question.to_json(), line, size, tokens, *self._most(body)),
        )

    @property
    def first(self) -> Amount | None:
        """The most that the first question can take; None without any."""
        row = self._db.execute(
            "SELECT most_tokens, most_nanodollars FROM queue ORDER BY place LIMIT 1"
        ).fetchone()
        return None if row is None else Amount(1, *row)

    def _most(self, body: Body) -> tuple[int, int]:
        """Tokens and nanodollars."""
        most = usage_bound(body)
        known, batch = self._prices, self._at_batch_price
        price = 0 if known is None else most_nanodollars(most, known, batch=batch)
        return most.prompt + most.completion, price

    def parts(
        self, *, enqueued: int, fits: Callable[[Amount], bool] = lambda _: True
    ) -> list[Part]:
        """Cut the queue, from its start, into batches within the limits.

        Args:
            enqueued: Tokens in batches that are open already.
            fits: Whether the caps of the run allow so much in all.

        Returns:
            As much as there is room for; the rest waits until open batches have ended.
        """
        limits, parts = self._limits, list[Part]()
        size, total = 0, Amount()
        rows = self._db.execute(
            "SELECT place, bytes, tokens, most_tokens, most_nanodollars FROM queue ORDER BY place"
        )
        for place, length, tokens, *bound in rows:
            most = Amount(1, *bound)
            enqueued, total = enqueued + tokens, total + most
            if enqueued > (limits.max_enqueued_tokens or enqueued) or not fits(total):
                break
            full = not parts or parts[-1].requests == limits.max_requests
            if full or size + length > limits.max_bytes:
                parts.append(Part(place, place))
                size = 0
            last = parts[-1]
            parts[-1] = Part(
                last.first, place, last.requests + 1, last.tokens + tokens, last.most + most
            )
            size += length
        return parts

    def lines(self, part: Part) -> Iterator[str]:
        """The lines of a batch file."""
        rows = self._db.execute(
            "SELECT line FROM queue WHERE place BETWEEN ? AND ? ORDER BY place",
            (part.first, part.last),
        )
        return (line for (line,) in rows)

    def questions(self, part: Part) -> Iterator[Question]:
        """What these lines ask."""
        rows = self._db.execute(
            "SELECT question FROM queue WHERE place BETWEEN ? AND ? ORDER BY place",
            (part.first, part.last),
        )
        return (Question.from_json(text) for (text,) in rows)

    def remove(self, part: Part) -> None:
        """Forget the questions of a batch: its record has them."""
        self._db.execute("DELETE FROM queue WHERE place BETWEEN ? AND ?", (part.first, part.last))

    def close(self) -> None:
        """Close and delete the file."""
        self._db.close()
