"""A ready model under the caps of a run."""

from __future__ import annotations

from typing import Final

from clear_pipeline.errors import CallError
from clear_pipeline.llm.base import Capabilities, ChatModel, ChatRequest, Completion
from clear_pipeline.llm.budget import Account
from clear_pipeline.llm.wire import request_body, usage_bound

_REFUSED: Final = frozenset({"auth", "bad_request", "rate_limit"})
"""Kinds of failures that are never billed."""


class Budgeted:
    """Passes every question on as one request of the budget, billed by the usage of its answer.

    For models that are given in Python. The client of an endpoint does better: there each single
    HTTP request passes the budget, those within one question as well.

    Args:
        inner: The model.
        account: Its way to the budget.
    """

    def __init__(self, inner: ChatModel, account: Account) -> None:
        self._inner = inner
        self._account = account

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
            BudgetExceededError: A cap forbids the question; the model was not asked.
        """
        body = request_body(request, self.identity) | {"max_tokens": request.max_output_tokens}
        async with self._account.request(usage_bound(body)) as sent:
            try:
                completion = await self._inner.complete(request)
            except CallError as error:
                if error.kind in _REFUSED:
                    sent.refused()
                raise
            sent.settle(completion.usage)
        return completion

    async def close(self) -> None:
        """Close the inner model."""
        await self._inner.close()
