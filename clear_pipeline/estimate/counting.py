"""Tokens of rehearsed calls."""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from clear_pipeline.estimate.figures import Need, Span
from clear_pipeline.estimate.rehearsal import Asked
from clear_pipeline.llm.base import ChatRequest
from clear_pipeline.llm.tokens import TokenCounter
from clear_pipeline.model_pool import Endpoint

_AT_ONCE: Final = 8
"""Questions to a server that counts."""
_OPENAI_LEAST: Final = 1024
_OPENAI_STEP: Final = 128
"""OpenAI keeps no shorter prompt, and of longer ones multiples of this."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What an endpoint makes of `n` samples and of prompts that begin alike.

    Attributes:
        least: Samples that one call may ask for if the server is as good as it could be.
        most: The same if it is not.
        openai: Whether it caches as OpenAI does.
    """

    least: int
    most: int
    openai: bool

    @classmethod
    def of(cls, endpoint: Endpoint) -> Limits:
        """What is known beforehand: a llama.cpp takes as many as it has slots."""
        settings = endpoint.settings
        given = settings.max_samples_per_request if settings is not None else None
        most = given or 1 << 20
        if endpoint.capabilities.grammar:
            most = min(most, endpoint.capabilities.slots or 1)
            return cls(most, most, openai=False)
        openai = settings is not None and settings.is_openai
        return cls(most, most if openai else 1, openai=openai)


class Counting:
    """Counts the calls to one endpoint; no prompt and no text is counted twice.

    Args:
        endpoint: Whom they go to.
        embeds: Whether they ask for embeddings.
    """

    def __init__(self, endpoint: Endpoint, *, embeds: bool = False) -> None:
        self._counter: TokenCounter = endpoint.counter
        self._limits = Limits.of(endpoint)
        self._embeds = embeds
        self._prompts: dict[ChatRequest, int] = {}
        self._texts: dict[str, int] = {}

    async def needs(self, asked: Sequence[Asked]) -> list[Need]:
        """What each call takes, as if none had been answered; consecutive ones share a cache."""
        await self._count(asked)
        before = ""
        needs = []
        for call in asked:
            shown = _shown(call.request)
            needs.append(self._need(call, _shared(before, shown)))
            before = shown
        return needs

    def _need(self, call: Asked, shared: float) -> Need:
        samples = len(call.request.samples)
        least, most = (math.ceil(samples / n) for n in (self._limits.least, self._limits.most))
        prompt = self._prompts[_alike(call.request)]
        calls = Span(least, most)
        first = self._kept(prompt * shared)
        return Need(
            calls=calls,
            prompt=calls * prompt,
            cached=Span(0, first + (least - 1) * self._kept(prompt)),
            completion=self._completion(call) * samples,
        )

    def _completion(self, call: Asked) -> Span:
        if self._embeds:
            return Span()
        most = 1 if call.request.score_from is not None else call.request.max_output_tokens
        low = min(max(self._texts[call.reply], 1), most)
        return Span(low, most if call.free else low)

    def _kept(self, tokens: float) -> float:
        """How much of a prompt that begins like the last one the server may have kept."""
        if not self._limits.openai:
            return tokens
        return tokens // _OPENAI_STEP * _OPENAI_STEP if tokens >= _OPENAI_LEAST else 0.0

    async def _count(self, asked: Sequence[Asked]) -> None:
        at_once = asyncio.Semaphore(_AT_ONCE)

        async def prompt(request: ChatRequest) -> None:
            async with at_once:
                said = request.messages[-1].text
                count = self._counter.text(said) if self._embeds else self._counter.prompt(request)
                self._prompts[request] = await count

        async def text(reply: str) -> None:
            async with at_once:
                self._texts[reply] = await self._counter.text(reply)

        prompts = {_alike(call.request) for call in asked} - self._prompts.keys()
        texts = {call.reply for call in asked} - self._texts.keys()
        await asyncio.gather(*map(prompt, prompts), *map(text, texts))


def _alike(request: ChatRequest) -> ChatRequest:
    """Equal for requests with the same prompt."""
    scored = None if request.score_from is None else 0
    plain = ChatRequest(request.messages, 1, 0.0, tools=request.tools)
    return replace(plain, score_from=scored)


def _shown(request: ChatRequest) -> str:
    return "\n".join([request.tools or "", *(f"{m.role}\n{m.text}" for m in request.messages)])


def _shared(before: str, now: str) -> float:
    """The share of a prompt with which the one before it began as well."""
    same = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(before, now, strict=False))
    return sum(1 for _ in same) / max(len(now), 1)
