"""What one row or one step asks of a model, apart from the rest of the run."""

from __future__ import annotations

from clear_pipeline.llm.base import Capabilities, ChatModel, ChatRequest, Completion, Usage


class Counted:
    """Passes every question on and counts it, answers from a cache included.

    So the counts are what the work costs where nothing is cached: the same on every rerun.

    Args:
        inner: The model; it stays open.

    Attributes:
        calls: Questions asked, failed ones included; one may ask for several samples.
        usage: Tokens of those that were answered.
    """

    def __init__(self, inner: ChatModel) -> None:
        self._inner = inner
        self.calls = 0
        self.usage = Usage()

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
        self.usage += completion.usage
        return completion

    async def close(self) -> None:
        """Nothing: the inner model belongs to others."""
