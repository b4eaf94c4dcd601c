"""The file of answered samples: one SQLite row per sample, each with a checksum.

A row is committed before its answer is handed on, so a killed process loses only the calls in
flight. A row whose checksum fails counts as not there.
"""

from __future__ import annotations

import hashlib
import json
import logging
import operator
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Final

from clear_pipeline.durable import DAMAGED, write_atomically, writing
from clear_pipeline.errors import DamagedRunError, UnwritableError
from clear_pipeline.llm.base import Choice, Token, Usage
from clear_pipeline.llm.sqlite import BESIDE, FAILURES, is_broken, transaction
from clear_pipeline.schema import JSON, canonical_json

logger = logging.getLogger(__name__)

_SCHEMA: Final = (
    "CREATE TABLE answers"
    " (key TEXT PRIMARY KEY, value BLOB NOT NULL, checksum TEXT NOT NULL) WITHOUT ROWID"
)
_TABLE: Final = _SCHEMA.replace("TABLE", "TABLE IF NOT EXISTS", 1)
_MAGIC: Final = b"SQLite format 3\0"
_HEADER: Final = 100
"""Bytes at the start of an SQLite file, before the schema."""
_FLIPPED: Final = 8
"""So many bytes of a schema may be damaged and are mended."""
_RANGES: Final = 16**3
"""Into so many parts the keys are divided where a damaged file is read."""
_RESCUED: Final = ".rescued"
"""Added to the name of a file for the whole new one, until it has its place."""


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
            self._db = _connected(path or ":memory:")
            self._db.execute("PRAGMA journal_mode = WAL")
            # Commits survive a killed process; a power cut may lose the last ones, which are
            # then asked again.
            self._db.execute("PRAGMA synchronous = NORMAL")
            self._db.execute(_TABLE)

    def read(self, question: str, samples: Sequence[int]) -> dict[int, Answer]:
        """The stored answers, by sample index. A damaged one counts as not stored."""
        keys = {_sample_key(question, index): index for index in samples}
        marks = ",".join("?" * len(keys))
        query = f"SELECT key, CAST(value AS BLOB), checksum FROM answers WHERE key IN ({marks})"  # noqa: S608
        with self._explained():
            rows = self._db.execute(query, list(keys)).fetchall()
        answers = {}
        for key, value, checksum in rows:
            if _is_sound(key, value, checksum):
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
        with closing(_connected(path)) as db:
            found = str(db.execute("PRAGMA quick_check(1)").fetchone()[0])
            schema = db.execute("SELECT type, name, sql FROM sqlite_schema").fetchall()
        if found == "ok" and schema not in ([], [("table", "answers", _SCHEMA)]):
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
    with closing(_connected(damaged)) as old, closing(_connected(path)) as new:
        new.execute("PRAGMA journal_mode = MEMORY")  # unfinished, it is thrown away: one file
        new.execute(_TABLE)
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
        return [row for row in rows if _is_sound(*row)]
    except FAILURES as error:
        logger.debug("answers %s to %s: %s", begin, end, error)
        return []


def _mend_schema(damaged: Path, scratch: Path) -> None:
    """Give the first page the schema of a new file, which is the same in every file of answers.

    Where more than a few bytes differ, it is not damaged but another one, and is let alone.
    """
    scratch.unlink(missing_ok=True)
    with closing(_connected(scratch)) as new:
        new.execute(_TABLE)
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


def _connected(path: Path | str) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None)
    # A flipped bit may leave no UTF-8: such text fails its checksum instead of the whole query.
    db.text_factory = lambda data: data.decode("utf-8", "replace")
    return db


def _sample_key(question: str, index: int) -> str:
    return sha256_of(f"{question}:{index}")


def sha256_of(text: str) -> str:
    """Of a text that may hold lone surrogates, in hex."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _is_sound(key: object, value: object, checksum: object) -> bool:
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
