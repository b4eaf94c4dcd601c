"""The file of answered samples: one SQLite row per sample, each with a checksum.

A row is committed before its answer is handed on, so a killed process loses only the calls in
flight. A row whose checksum fails counts as not there.
"""

from __future__ import annotations

import hashlib
import json
import logging
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from clear_pipeline.errors import DamagedRunError, UnwritableError
from clear_pipeline.llm.base import Choice, Token, Usage
from clear_pipeline.llm.sqlite import FAILURES, is_broken, transaction
from clear_pipeline.schema import JSON, canonical_json

logger = logging.getLogger(__name__)

SCHEMA: Final = (
    "CREATE TABLE answers"
    " (key TEXT PRIMARY KEY, value BLOB NOT NULL, checksum TEXT NOT NULL) WITHOUT ROWID"
)
"""Of every such file."""
TABLE: Final = SCHEMA.replace("TABLE", "TABLE IF NOT EXISTS", 1)


@dataclass(frozen=True, slots=True)
class Answer:
    """One stored sample. The usage of a reply stands with its first sample."""

    choice: Choice
    model: str
    usage: Usage


class Answers:
    """Answers by question and sample index.

    Args:
        path: The file, made if absent; None keeps the answers in memory.

    Raises:
        DamagedRunError: The file is no cache, or damaged.
        UnwritableError: It cannot be written.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        with self._explained():
            self._db = connected(path or ":memory:")
            self._db.execute("PRAGMA journal_mode = WAL")
            # Commits survive a killed process; a power cut may lose the last ones, which are
            # then asked again.
            self._db.execute("PRAGMA synchronous = NORMAL")
            self._db.execute(TABLE)

    def read(self, question: str, samples: Sequence[int]) -> dict[int, Answer]:
        """The stored answers, by sample index. A damaged one counts as not stored."""
        keys = {_sample_key(question, index): index for index in samples}
        marks = ",".join("?" * len(keys))
        query = f"SELECT key, CAST(value AS BLOB), checksum FROM answers WHERE key IN ({marks})"  # noqa: S608
        with self._explained():
            rows = self._db.execute(query, list(keys)).fetchall()
        answers = {}
        for key, value, checksum in rows:
            if is_sound(key, value, checksum):
                answers[keys[key]] = _decode(value)
            else:
                logger.warning("%s: a damaged answer is asked again", self._path)
        return answers

    def hold(self) -> None:
        """From now on only read, and what is there now: whatever another connection writes."""
        with self._explained():
            self._db.execute("BEGIN")
            self._db.execute("SELECT 1 FROM answers LIMIT 1").fetchone()

    def write(self, question: str, answers: Mapping[int, Answer]) -> None:
        """Store answers: all are committed on return, or, if it raises, none."""
        self.write_all([(question, answers)])

    def write_all(self, answered: Iterable[tuple[str, Mapping[int, Answer]]]) -> None:
        """`write` for several questions at once."""
        rows = []
        for question, answers in answered:
            for index, answer in answers.items():
                key, value = _sample_key(question, index), _encode(answer)
                rows.append((key, value, _checksum(key, value)))
        with self._explained(), transaction(self._db):
            self._db.executemany("INSERT OR REPLACE INTO answers VALUES (?, ?, ?)", rows)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except FAILURES as error:
            if is_broken(error):
                raise DamagedRunError(
                    f"{self._path}: the cache of model answers is damaged ({error}); the next "
                    "run in this directory sets it aside and takes over what can be read of it"
                ) from error
            raise UnwritableError(self._path, str(error)) from error


def connected(path: Path | str) -> sqlite3.Connection:
    """A connection to a file of answers."""
    db = sqlite3.connect(path, isolation_level=None)
    # A flipped bit may leave no UTF-8: such text fails its checksum instead of the whole query.
    db.text_factory = lambda data: data.decode("utf-8", "replace")
    return db


def _sample_key(question: str, index: int) -> str:
    return sha256_of(f"{question}:{index}")


def sha256_of(text: str) -> str:
    """Of a text that may hold lone surrogates, in hex."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def is_sound(key: object, value: object, checksum: object) -> bool:
    """Whether a row is as it was written; a flipped bit may change the types of its values too."""
    return isinstance(key, str) and isinstance(value, bytes) and _checksum(key, value) == checksum


def _checksum(key: str, value: bytes) -> str:
    return hashlib.sha256(key.encode() + value).hexdigest()[:16]


def _encode(answer: Answer) -> bytes:
    choice, tokens, usage = answer.choice, answer.choice.tokens, answer.usage
    stored: dict[str, JSON] = {
        "text": choice.text,
        "finish_reason": choice.finish_reason,
        "tokens": None if tokens is None else [[t.text, t.logprob, t.top] for t in tokens],
        "tool_calls": choice.tool_calls,
        "reasoning": choice.reasoning,
        "model": answer.model,
        "usage": {
            "prompt": usage.prompt,
            "cached": usage.cached,
            "completion": usage.completion,
            "cache_write": usage.cache_write,
        },
    }
    return canonical_json(stored).encode("utf-8", "surrogatepass")


def _decode(value: bytes) -> Answer:
    stored: dict[str, Any] = json.loads(value.decode("utf-8", "surrogatepass"))
    model, usage, tokens = stored.pop("model"), stored.pop("usage"), stored.pop("tokens")
    parsed = [
        Token(text, logprob, tuple((alternative, value) for alternative, value in top))
        for text, logprob, top in tokens or ()
    ]
    choice = Choice(**stored, tokens=None if tokens is None else tuple(parsed))
    return Answer(choice, model, Usage(**usage))
