"""How hard a model is driven, and asking again after failures that may pass."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception
from tenacity.stop import stop_base
from tenacity.wait import wait_base, wait_random_exponential

from clear_pipeline.errors import CallError
from clear_pipeline.llm.base import Capabilities, ChatModel, ChatRequest, Completion
from clear_pipeline.llm.breaker import CircuitBreaker
from clear_pipeline.llm.concurrency import FIRST, Concurrency
from clear_pipeline.llm.meter import Meter
from clear_pipeline.llm.pace import Pace, expected_tokens
from clear_pipeline.llm.settings import ModelSettings

MAX_WAIT_S: Final = 120.0
"""A server that asks to wait longer than this has failed the call."""

_OVERLOADED: Final = {"outage", "rate_limit", "timeout"}
"""Kinds of failure after which fewer requests are open at once."""


class Limited:
    """A model that is asked as hard as it bears, and again after failures that may pass.

    A server's Retry-After holds back all requests to it, not only the one that was refused. Where
    the server is known to compute fewer requests at once than `max_in_flight`, no more are open.

    Args:
        inner: The client.
        settings: Attempts, waiting times and the most requests in flight.
        meter: Counts failed attempts, retries and failures.
        pace: Learns from the client which rates the provider allows; None = `settings` alone.
    """

    def __init__(
        self,
        inner: ChatModel,
        *,
        settings: ModelSettings,
        meter: Meter,
        pace: Pace | None = None,
    ) -> None:
        self._inner = inner
        self._meter = meter
        self._pace = pace or Pace(settings)
        slots = inner.capabilities.slots
        most = min(settings.max_in_flight, slots or settings.max_in_flight)
        self._concurrency = Concurrency(most, first=slots or FIRST)
        self._breaker = CircuitBreaker(settings.model)
        self._retrying = retrying(settings, before_sleep=self._before_retry)

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
            CircuitOpenError: Nearly every question fails.
        """
        try:
            try:
                completion = await self._attempt(request)
            except CallError as error:
                completion = await self._attempt_again(request, error)
        except CallError as error:
            self._meter.gave_up()
            self._breaker.failed(error)
            raise
        self._breaker.answered()
        return completion

    async def close(self) -> None:
        """Close the client."""
        await self._inner.close()

    async def _attempt_again(self, request: ChatRequest, failed: CallError) -> Completion:
        """Ask after a first attempt that failed; most questions never come here."""
        failures = [failed]

        async def attempt() -> Completion:
            if failures:
                raise failures.pop()
            return await self._attempt(request)

        # A copy, because the statistics inside belong to one question.
        completion: Completion = await self._retrying.copy()(attempt)
        return completion

    async def _attempt(self, request: ChatRequest) -> Completion:
        tokens = expected_tokens(request)
        async with self._concurrency.slot():
            await self._pace.turn(tokens, self._concurrency.gap)
            begun = time.monotonic()
            try:
                completion = await self._inner.complete(request)
            except CallError as error:
                self._meter.attempt_failed(error.kind)
                self._ease(error)
                raise
            self._concurrency.answered(time.monotonic() - begun)
            self._pace.correct(tokens, completion.usage)
            return completion

    def _ease(self, error: CallError) -> None:
        """Ask less after a failure that is one of load."""
        if error.kind in _OVERLOADED and _may_pass(error):
            self._pace.hold(error.retry_after or 0.0)
            self._concurrency.refused(held_until=self._pace.held_until)

    def _before_retry(self, _state: RetryCallState) -> None:
        self._meter.retried()


def retrying(
    settings: ModelSettings, *, before_sleep: Callable[[RetryCallState], None] | None = None
) -> AsyncRetrying:
    """Tries a call of a model's endpoint again after failures that may pass; copy it for each."""
    return AsyncRetrying(
        retry=retry_if_exception(_may_pass),
        stop=_Stop(settings.max_attempts),
        wait=_Wait(settings.backoff_s),
        before_sleep=before_sleep,
        reraise=True,
    )


def _may_pass(error: BaseException) -> bool:
    return (
        isinstance(error, CallError) and error.transient and (error.retry_after or 0) <= MAX_WAIT_S
    )


def _error(state: RetryCallState) -> CallError | None:
    error = state.outcome.exception() if state.outcome else None
    return error if isinstance(error, CallError) else None


class _Stop(stop_base):
    """After so many attempts; after twice as many if the last was refused for its rate alone."""

    def __init__(self, attempts: int) -> None:
        self._attempts = attempts

    def __call__(self, retry_state: RetryCallState) -> bool:
        error = _error(retry_state)
        patience = 2 if error is not None and error.kind == "rate_limit" else 1
        return retry_state.attempt_number >= patience * self._attempts


class _Wait(wait_base):
    """A random part of a doubling time, and never less than the server asked for."""

    def __init__(self, first: float) -> None:
        self._backoff = wait_random_exponential(multiplier=first, max=60.0)
        self._after_refusal = wait_random_exponential(multiplier=first, max=4 * first)

    def __call__(self, retry_state: RetryCallState) -> float:
        error = _error(retry_state)
        if error is not None and error.kind == "rate_limit":
            # Short, because refusals slow down all requests, see `llm.concurrency`.
            return max(self._after_refusal(retry_state), error.retry_after or 0.0)
        return max(self._backoff(retry_state), (error and error.retry_after) or 0.0)
