"""Questions on their way from workers to the process that owns the models, and the answers back.

Cache, limits and budget have one owner, the process of the run. Workers hold none of them: they ask
through one actor, which keeps nothing but what is under way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from clear_pipeline.errors import ClearPipelineError
from clear_pipeline.llm.base import Capabilities, ChatModel, ChatRequest, Completion


@dataclass(frozen=True, slots=True)
class Report:
    """What the work on one shard has told so far.

    Attributes:
        rows: Done.
        begun: Rows that a model was asked about.
        failures: Arguments of `FailureTally.fail`, from the one numbered `first` on.
        first: How many were sent before.
        notes: All of them.
        found: As `Context.found`.
    """

    rows: int
    begun: int
    failures: tuple[tuple[str, str, float, str], ...]
    first: int
    notes: tuple[str, ...]
    found: Mapping[str, bool]


@dataclass(frozen=True, slots=True)
class Question:
    """A request to the model of a role, with what there is to tell of the shard."""

    key: str
    role: str
    request: ChatRequest
    report: Report


@dataclass(frozen=True, slots=True)
class Reply:
    """What the model said, and what it is known to offer by now."""

    outcome: Completion | ClearPipelineError
    capabilities: Capabilities


Ask = Callable[[str, ChatRequest], Awaitable[Reply]]
"""Puts a request to the model of a role."""


class Relay:
    """The actor between workers and the process of the run."""

    def __init__(self) -> None:
        self._asked: asyncio.Queue[tuple[int, Question]] = asyncio.Queue()
        self._open: dict[int, asyncio.Future[Reply]] = {}
        self._count = 0

    async def ask(self, question: Question) -> Reply:
        """Wait for the answer to a question; called by workers."""
        self._count += 1
        ticket = self._count
        self._open[ticket] = asyncio.get_running_loop().create_future()
        self._asked.put_nowait((ticket, question))
        try:
            return await self._open[ticket]
        finally:
            del self._open[ticket]

    async def take(self) -> list[tuple[int, Question]]:
        """All questions that wait, at least one, each with its ticket; called by the run."""
        taken = [await self._asked.get()]
        while not self._asked.empty():
            taken.append(self._asked.get_nowait())
        return taken

    async def answer(self, ticket: int, reply: Reply) -> None:
        """Hand a reply to who asked; called by the run."""
        waiting = self._open.get(ticket)
        if waiting is not None and not waiting.done():
            waiting.set_result(reply)


class RelayedModel:
    """A `ChatModel` of a worker, which asks the one that the process of the run owns."""

    def __init__(self, role: str, identity: str, capabilities: Capabilities, ask: Ask) -> None:
        self._role = role
        self._identity = identity
        self._capabilities = capabilities
        self._ask = ask

    @property
    def identity(self) -> str:
        """As the owned model's."""
        return self._identity

    @property
    def capabilities(self) -> Capabilities:
        """As the owned model's were when it answered last."""
        return self._capabilities

    async def complete(self, request: ChatRequest) -> Completion:
        """See `ChatModel`; errors are those of the owned model."""
        reply = await self._ask(self._role, request)
        self._capabilities = reply.capabilities
        if isinstance(reply.outcome, ClearPipelineError):
            raise reply.outcome
        return reply.outcome

    async def close(self) -> None:
        """Nothing to release: the model is another process's."""


async def replied(models: Mapping[str, ChatModel], question: Question) -> Reply:
    """Put a question to the model that is asked."""
    model = models[question.role]
    outcome: Completion | ClearPipelineError
    try:
        outcome = await model.complete(question.request)
    except ClearPipelineError as error:
        outcome = error
    return Reply(outcome, model.capabilities)
