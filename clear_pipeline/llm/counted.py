"""What one part of a score costs: the tokens of the questions that it asks."""

from __future__ import annotations

from clear_pipeline.llm.base import Capabilities, ChatModel, ChatRequest, Completion, Usage


class Counted:
    """A model that sums the tokens of the answers that go through it.

    An answer from the cache counts as when it was asked, so that a resumed run shows the same
    figures as one that was never stopped.

    Args:
        inner: Answers; it is not closed with this.
    """

    def __init__(self, inner: ChatModel) -> None:
        self._inner = inner
        self.usage: Usage | None = None
        """Tokens so far; None until the first answer."""

    @property
    def identity(self) -> str:
        """As the inner model's."""
        return self._inner.identity

    @property
    def capabilities(self) -> Capabilities:
        """As the inner model's."""
        return self._inner.capabilities

    async def complete(self, request: ChatRequest) -> Completion:
        """As the inner model."""
        completion = await self._inner.complete(request)
        self.usage = (self.usage or Usage()) + completion.usage
        return completion

    async def close(self) -> None:
        """Nothing: whoever opened the inner model closes it."""
