"""Answered samples, kept by content, so that no answer is ever paid for twice.

One SQLite row per sample. A row is committed before its answer is handed on, so a killed process
loses only the calls in flight.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final
from weakref import WeakValueDictionary

from clear_pipeline.errors import CallError, DamagedRunError
from clear_pipeline.llm.base import (
    OMIT,
    Capabilities,
    ChatModel,
    ChatRequest,
    Choice,
    Completion,
    Omit,
    Token,
    Usage,
)
from clear_pipeline.llm.meter import Meter
from clear_pipeline.schema import JSON, canonical_json

logger = logging.getLogger(__name__)

_VERSION: Final = 1
"""Part of every key; raised when the meaning of a stored answer changes."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One stored sample. The usage of a reply stands with its first sample."""

    choice: Choice
    model: str
    usage: Usage


class Cached:
    """A model that asks only for the samples that were never answered before.

    Equal questions that are open at the same time share one call.

    Args:
        inner: Answers at least the first sample of a request; it is asked until none is missing.
        path: The SQLite file, made if absent; None keeps the answers in memory.
        meter: Counts samples, by where they came from, and the names that served them.

    Raises:
        DamagedRunError: The file is no cache.
    """

    def __init__(self, inner: ChatModel, *, path: Path | None, meter: Meter) -> None:
        self._inner = inner
        self._meter = meter
        self._answers = Answers(path)
        self._open: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @property
    def identity(self) -> str:
        """As the inner model's."""
        return self._inner.identity

    @property
    def capabilities(self) -> Capabilities:
        """As the inner model's."""
        return self._inner.capabilities

    async def complete(self, request: ChatRequest) -> Completion:
        """Answer all samples. `usage` is what they cost when they were asked, now or earlier.

        Raises:
            CallError: A missing sample got no usable answer; those that came before it are kept.
        """
        question = question_hash(self.identity, request)
        lock = self._open.setdefault(question, asyncio.Lock())
        async with lock:
            answers = self._answers.read(question, request.samples)
            if answers:
                self._meter.from_cache(len(answers))
            while missing := _first_gap(request.samples, answers):
                fresh = await self._ask(request.with_samples(missing))
                self._answers.write(question, fresh)
                answers |= fresh
        ordered = [answers[index] for index in request.samples]
        for model in {answer.model for answer in ordered}:
            self._meter.served_by(model)
        return Completion(
            choices=tuple(answer.choice for answer in ordered),
            model=ordered[-1].model,
            usage=sum((answer.usage for answer in ordered), Usage()),
        )

    async def close(self) -> None:
        """Close the model and the file."""
        await self._inner.close()
        self._answers.close()

    async def _ask(self, request: ChatRequest) -> dict[int, Answer]:
        completion = await self._inner.complete(request)
        if not completion.choices:
            raise CallError("garbled", "the reply holds no choices", transient=True)
        self._meter.answered(len(completion.choices))
        usages = [completion.usage] + [Usage()] * (len(completion.choices) - 1)
        return {
            index: Answer(choice, completion.model, usage)
            for index, choice, usage in zip(
                request.samples, completion.choices, usages, strict=False
            )
        }


def _first_gap(samples: range, answers: dict[int, Answer]) -> range:
    """The first run of samples without an answer; empty if none is missing."""
    start = next((i for i in samples if i not in answers), samples.stop)
    stop = next((i for i in range(start, samples.stop) if i in answers), samples.stop)
    return range(start, stop)


def question_hash(identity: str, request: ChatRequest) -> str:
    """SHA-256 of everything that changes the answers, the sample index excepted."""

    def given(value: float | Omit) -> JSON:
        return None if value is OMIT else value

    scored = {} if request.score_from is None else {"score_from": request.score_from}
    return _sha256(
        canonical_json(
            {
                "version": _VERSION,
                "model": identity,
                "messages": [
                    [m.role, m.content, m.name, m.tool_calls, m.tool_call_id]
                    for m in request.messages
                ],
                "max_output_tokens": request.max_output_tokens,
                "temperature": given(request.temperature),
                "seed": given(request.seed),
                "top_logprobs": given(request.top_logprobs),
                "stop": request.stop,
                "tools": request.tools,
                "response_format": request.response_format,
                "grammar": request.grammar,
                **scored,
            }
        )
    )


class Answers:
    """The SQLite file: answers by question and sample index, each with a checksum."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._db = sqlite3.connect(path or ":memory:", isolation_level=None)
        with self._explained():
            self._db.execute("PRAGMA journal_mode = WAL")
            # Commits survive a killed process; a power cut may lose the last ones, which are
            # then asked again.
            self._db.execute("PRAGMA synchronous = NORMAL")
            self._db.execute(
                "CREATE TABLE IF NOT EXISTS answers"
                " (key TEXT PRIMARY KEY, value BLOB NOT NULL, checksum TEXT NOT NULL)"
                " WITHOUT ROWID"
            )

    def read(self, question: str, samples: Sequence[int]) -> dict[int, Answer]:
        """The stored answers, by sample index. A damaged one counts as not stored."""
        keys = {_sample_key(question, index): index for index in samples}
        marks = ",".join("?" * len(keys))
        query = f"SELECT key, CAST(value AS BLOB), checksum FROM answers WHERE key IN ({marks})"  # noqa: S608
        with self._explained():
            rows = self._db.execute(query, list(keys)).fetchall()
        answers = {}
        for key, value, checksum in rows:
            if _checksum(key, value) == checksum:
                answers[keys[key]] = _decode(value)
            else:
                logger.warning("%s: a damaged answer is asked again", self._path)
        return answers

    def write(self, question: str, answers: dict[int, Answer]) -> None:
        """Store answers; they are committed on return."""
        rows = []
        for index, answer in answers.items():
            key, value = _sample_key(question, index), _encode(answer)
            rows.append((key, value, _checksum(key, value)))
        with self._explained():
            self._db.execute("BEGIN")
            self._db.executemany("INSERT OR REPLACE INTO answers VALUES (?, ?, ?)", rows)
            self._db.execute("COMMIT")

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            raise DamagedRunError(
                f"{self._path}: the cache of model answers cannot be used ({error}); delete it "
                "to ask the model again, or free the disk if it is full"
            ) from error


def _sample_key(question: str, index: int) -> str:
    return _sha256(f"{question}:{index}")


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _checksum(key: str, value: bytes) -> str:
    return hashlib.sha256(key.encode() + value).hexdigest()[:16]


def _encode(answer: Answer) -> bytes:
    choice, tokens = answer.choice, answer.choice.tokens
    stored: dict[str, JSON] = {
        "text": choice.text,
        "finish_reason": choice.finish_reason,
        "tokens": None if tokens is None else [[t.text, t.logprob, t.top] for t in tokens],
        "tool_calls": choice.tool_calls,
        "reasoning": choice.reasoning,
        "model": answer.model,
        "usage": asdict(answer.usage),
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
