"""What one row or one step asks of a model, apart from the rest of the run."""

from __future__ import annotations

from clear_pipeline.llm.base import Capabilities, ChatModel, ChatRequest, Completion, Usage


class Counted:
    """Passes every question on and counts it.

    An answer from the cache counts as when it was asked, so that a resumed run shows the same
    figures as one that was never stopped.

    Args:
        inner: The model; it is not closed with this.

    Attributes:
        calls: Questions asked, failed ones included; one may ask for several samples.
        usage: Tokens of those that were answered; None until the first answer.
    """

    def __init__(self, inner: ChatModel) -> None:
        self._inner = inner
        self.calls = 0
        self.usage: Usage | None = None

    @property
    def identity(self) -> str:
        """As the inner model's."""
        return self._inner.identity

    @property
    def capabilities(self) -> Capabilities:
        """As the inner model's."""
        return self._inner.capabilities

    async def complete(self, request: ChatRequest) -> Completion:
        """Answer as the inner model does.

        Raises:
            CallError: The inner model's.
            BudgetExceededError: The inner model's.
        """
        self.calls += 1
        completion = await self._inner.complete(request)
        self.usage = (self.usage or Usage()) + completion.usage
        return completion

    async def close(self) -> None:
        """Nothing: whoever opened the inner model closes it."""
