"""A model that is asked only for what was never answered, so that nothing is paid for twice."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

from clear_pipeline.errors import CallError
from clear_pipeline.llm.answers import Answer, Answers, sha256_of
from clear_pipeline.llm.base import (
    OMIT,
    Capabilities,
    ChatModel,
    ChatRequest,
    Completion,
    Omit,
    Usage,
)
from clear_pipeline.llm.meter import Meter
from clear_pipeline.llm.spaced import Spaced
from clear_pipeline.schema import JSON, canonical_json

_VERSION: Final = 1
"""Part of every key; raised when the meaning of a stored answer changes."""


class Cached:
    """A model that asks only for the samples that were never answered before.

    Equal questions that are open at the same time share one call.

    Args:
        inner: Answers at least the first sample of a request; it is asked until none is missing.
        path: The SQLite file, made if absent; None keeps the answers in memory.
        meter: Counts samples, by where they came from, and the names that served them.
        client: Of the server behind `inner`, for questions beside those to the model.

    Raises:
        DamagedRunError: The file is no cache, see `answers.set_damaged_aside`.
        UnwritableError: It cannot be written.
    """

    def __init__(
        self,
        inner: ChatModel,
        *,
        path: Path | None,
        meter: Meter,
        client: ChatModel | None = None,
    ) -> None:
        self.client = client
        self._inner = inner
        self._meter = meter
        self._answers = Answers(path)
        self._writer = _Together(self._answers)
        self._open: dict[str, asyncio.Event] = {}

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
        while (earlier := self._open.get(question)) is not None:
            await earlier.wait()
        self._open[question] = answered = asyncio.Event()
        try:
            answers = self._answers.read(question, request.samples)
            if answers:
                self._meter.from_cache(len(answers))
            while missing := _first_gap(request.samples, answers):
                fresh = await self._ask(request.with_samples(missing))
                await self._writer.write(question, fresh)
                answers |= fresh
        finally:
            del self._open[question]
            answered.set()
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
        self._writer.commit()
        self._answers.close()
        if self._writer.lost is not None:
            raise self._writer.lost

    def commit(self) -> None:
        """Commit what has come, so that other connections find it."""
        self._writer.commit()

    async def _ask(self, request: ChatRequest) -> dict[int, Answer]:
        completion = await self._inner.complete(request)
        if not completion.choices:
            raise CallError("garbled", "the reply holds no choices", transient=True)
        self._meter.answered(len(completion.choices))
        return answers_of(request, completion)


class _Together:
    """The answers that come at about the same time, and are committed together.

    One commit takes as long as a hundred answers in it.

    Args:
        answers: Where they are stored.

    Attributes:
        lost: Why answers could not be stored that nobody waited for any more.
    """

    def __init__(self, answers: Answers) -> None:
        self.lost: Exception | None = None
        self._answers = answers
        self._commit_soon = Spaced(self.commit)
        self._waiting: list[tuple[str, dict[int, Answer], asyncio.Future[None]]] = []

    async def write(self, question: str, fresh: dict[int, Answer]) -> None:
        """Store answers: they are committed on return, and soon if it is cancelled."""
        committed = asyncio.get_running_loop().create_future()
        self._waiting.append((question, fresh, committed))
        self._commit_soon.soon()
        await committed

    def commit(self) -> None:
        """Commit what waits for it."""
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        error: Exception | None = None
        try:
            self._answers.write_all((question, fresh) for question, fresh, _ in waiting)
        except Exception as failure:  # noqa: BLE001  # raised again where it is waited for
            error = failure
        for _, _, committed in waiting:
            if committed.done():
                self.lost = self.lost or error
            elif error is None:
                committed.set_result(None)
            else:
                committed.set_exception(error)


def answers_of(request: ChatRequest, completion: Completion) -> dict[int, Answer]:
    """What is stored of a reply to the first samples of a request, by sample index."""
    usages = [completion.usage] + [Usage()] * (len(completion.choices) - 1)
    return {
        index: Answer(choice, completion.model, usage)
        for index, choice, usage in zip(request.samples, completion.choices, usages, strict=False)
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

    special: dict[str, JSON] = {}  # an ordinary question keeps the key that it always had
    if request.score_from is not None:
        special["score_from"] = request.score_from
    if request.count_only:
        special["count_only"] = True
    return sha256_of(
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
                **special,
            }
        )
    )
