"""What the answers of a run tell about its endpoint, without asking it."""

from __future__ import annotations

from clear_pipeline.errors import CallError
from clear_pipeline.llm.answers import Answers
from clear_pipeline.llm.base import Capabilities, ChatRequest, Completion, Usage
from clear_pipeline.llm.cache import question_hash
from clear_pipeline.prompts.forced import length_request
from clear_pipeline.scoring.likelihood import ALONE, scores_text


class Remembered:
    """A `ChatModel` that says again what was answered before, and refuses everything else.

    Args:
        identity: The model's own.
        answers: To all that it was asked in a run.
    """

    def __init__(self, identity: str, answers: Answers) -> None:
        self._identity = identity
        self._answers = answers

    @property
    def identity(self) -> str:
        """As given."""
        return self._identity

    @property
    def capabilities(self) -> Capabilities:
        """Nothing is known."""
        return Capabilities()

    async def complete(self, request: ChatRequest) -> Completion:
        """The answer of the run.

        Raises:
            CallError: It has none.
        """
        known = self._answers.read(question_hash(self._identity, request), request.samples)
        if len(known) < len(request.samples):
            raise CallError("bad_request", "never answered", transient=False)
        usage = sum((known[i].usage for i in request.samples), Usage())
        return Completion(tuple(known[i].choice for i in request.samples), "", usage)

    async def close(self) -> None:
        """Nothing to release."""

    async def scored_text(self) -> bool | None:
        """Whether the endpoint scored a given text when it was tried; None if it never was."""
        try:
            await self.complete(length_request(ALONE))
        except CallError:
            return None
        return await scores_text(self)
