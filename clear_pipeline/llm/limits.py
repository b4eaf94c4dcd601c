"""How hard a model is driven: requests in flight, retries by class of error, and when to stop."""

from __future__ import annotations

import asyncio
from typing import Final

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt
from tenacity.wait import wait_base, wait_random_exponential

from clear_pipeline.errors import CallError, UnreachableError
from clear_pipeline.llm.base import Capabilities, ChatModel, ChatRequest, Completion
from clear_pipeline.llm.meter import Meter
from clear_pipeline.llm.settings import ModelSettings

MAX_WAIT_S: Final = 120.0
"""A server that asks to wait longer than this has failed the call."""

GONE_AFTER: Final = 3
"""So many questions in a row without any connection, each after its last attempt, and the server
is gone: the stage stops instead of marking the rest of the rows unscored."""


class Limited:
    """A model that is asked at most so often at once, and again after failures that may pass.

    A server's Retry-After holds back all requests to it, not only the one that was refused. Where
    the server is known to compute fewer requests at once than `max_in_flight`, no more are open.

    Args:
        inner: The client.
        settings: Attempts, waiting times and requests in flight.
        meter: Counts retries and failures.
    """

    def __init__(self, inner: ChatModel, *, settings: ModelSettings, meter: Meter) -> None:
        self._inner = inner
        self._meter = meter
        slots = inner.capabilities.slots or settings.max_in_flight
        self._open = asyncio.Semaphore(min(settings.max_in_flight, slots))
        self._hold_until = 0.0
        self._without_connection = 0
        self._retrying = AsyncRetrying(
            retry=retry_if_exception(_may_pass),
            stop=stop_after_attempt(settings.max_attempts),
            wait=_Wait(settings.backoff_s),
            before_sleep=self._before_retry,
            reraise=True,
        )

    @property
    def identity(self) -> str:
        """As the client's."""
        return self._inner.identity

    @property
    def capabilities(self) -> Capabilities:
        """As the client's."""
        return self._inner.capabilities

    async def complete(self, request: ChatRequest) -> Completion:
        """Ask until an answer comes, the error is final or the attempts are used up.

        Raises:
            CallError: The last attempt's.
            UnreachableError: The server is gone.
        """
        try:
            # A copy, because the statistics inside belong to one question.
            completion: Completion = await self._retrying.copy()(self._attempt, request)
        except CallError as error:
            self._meter.gave_up()
            if error.kind != "unreachable":
                self._without_connection = 0
                raise
            self._without_connection += 1
            if self._without_connection >= GONE_AFTER:
                raise UnreachableError(error.message) from error
            raise
        self._without_connection = 0
        return completion

    async def close(self) -> None:
        """Close the client."""
        await self._inner.close()

    async def _attempt(self, request: ChatRequest) -> Completion:
        async with self._open:
            clock = asyncio.get_running_loop()
            await asyncio.sleep(max(0.0, self._hold_until - clock.time()))
            try:
                return await self._inner.complete(request)
            except CallError as error:
                if error.kind == "rate_limit" and _may_pass(error):
                    until = clock.time() + (error.retry_after or 0.0)
                    self._hold_until = max(self._hold_until, until)
                raise

    def _before_retry(self, _state: RetryCallState) -> None:
        self._meter.retried()


def _may_pass(error: BaseException) -> bool:
    return (
        isinstance(error, CallError) and error.transient and (error.retry_after or 0) <= MAX_WAIT_S
    )


class _Wait(wait_base):
    """A random part of a doubling time, and never less than the server asked for."""

    def __init__(self, first: float) -> None:
        self._backoff = wait_random_exponential(multiplier=first, max=60.0)

    def __call__(self, retry_state: RetryCallState) -> float:
        error = retry_state.outcome.exception() if retry_state.outcome else None
        asked = error.retry_after if isinstance(error, CallError) else None
        return max(self._backoff(retry_state), asked or 0.0)
