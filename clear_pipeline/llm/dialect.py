"""What one endpoint understands: names of parameters, its limits, and what it refuses.

Endpoints that call themselves OpenAI-compatible differ in few parameters. Each difference is
learned once, from the first refusal, and kept for the life of the client.
"""

from __future__ import annotations

import logging
import re
from dataclasses import replace
from typing import Final

from clear_pipeline.llm.base import OMIT, Capabilities, ChatRequest, Completion
from clear_pipeline.llm.settings import ModelSettings
from clear_pipeline.llm.wire import Body, request_body

logger = logging.getLogger(__name__)

REASONING_BUDGET: Final = 1024
"""Fewest output tokens for a model that thinks before it answers."""

_REASONING_NAMES = re.compile(r"o\d|gpt-5")
"""Starts of the names of OpenAI's reasoning models: these get effort `none` first."""

_NAMED = re.compile(
    r"\b(max_tokens|max_completion_tokens|temperature|seed|reasoning_effort)\b"
    r"|\b((?:top_)?logprobs)\b"
    r"|(?<=['\"`])(n)(?=['\"`])"
)
"""Parameters that can be changed or left out while the question keeps its meaning."""


class Dialect:
    """The request bodies of one endpoint.

    Args:
        settings: Which model, and where.
    """

    def __init__(self, settings: ModelSettings) -> None:
        self._model = settings.model
        self._openai = settings.is_openai
        self._limit_name = "max_completion_tokens" if settings.is_openai else "max_tokens"
        self._refused: set[str] = set()
        self._max_samples = settings.max_samples_per_request
        self._max_logprobs: int | None = None
        self._thinks = False
        self.per_choice_usage = False
        self.capabilities = Capabilities()

    def is_llama_cpp(self, slots: int) -> None:
        """The server is a llama.cpp that computes `slots` samples at once, and no more."""
        self.per_choice_usage = True
        self._max_samples = min(self._max_samples or slots, slots)
        self.capabilities = Capabilities(grammar=True, logprobs=True, slots=slots)

    def fit(self, request: ChatRequest) -> ChatRequest:
        """The first samples of `request`, as many as one call may ask for."""
        return request.with_samples(request.samples[: self._max_samples])

    def body(self, request: ChatRequest) -> Body:
        """The JSON body that asks for all samples of `request`."""
        body = request_body(request, self._model)
        if not self.capabilities.grammar:
            body.pop("grammar", None)
        if "top_logprobs" in body and self._max_logprobs is not None:
            body["top_logprobs"] = min(body["top_logprobs"], self._max_logprobs)
        if self._openai and _REASONING_NAMES.match(self._model):
            body["reasoning_effort"] = "none"
        thinks = self._thinks or "reasoning_effort" in self._refused
        limit = request.max_output_tokens
        body[self._limit_name] = max(limit, REASONING_BUDGET) if thinks else limit
        return {name: value for name, value in body.items() if name not in self._refused}

    def learn_from_refusal(self, body: Body, *, param: str | None, message: str) -> bool:
        """Adapt to a "400 Bad Request".

        Args:
            body: What was refused.
            param: The parameter that the server blames, if it names one.
            message: What the server says.

        Returns:
            Whether asking again, with a body that is made anew, may go better.
        """
        found = _NAMED.search(param or message)
        name = found.group() if found else ""
        if name not in body:
            return False
        match name:
            case "n":
                self._max_samples = _smaller(message, body["n"]) or body["n"] // 2
            case "logprobs" | "top_logprobs":
                self._max_logprobs = _smaller(message, body["top_logprobs"])
                if self._max_logprobs is None:
                    self._refused |= {"logprobs", "top_logprobs"}
                    self.capabilities = replace(self.capabilities, logprobs=False)
            case "max_tokens" | "max_completion_tokens":
                other = {"max_tokens": "max_completion_tokens"}.get(name, "max_tokens")
                if other not in message:
                    return False
                self._limit_name = other
            case _:
                self._refused.add(name)
        logger.info("%s: adapted to %r", self._model, message)
        return True

    def learn_from_reply(self, request: ChatRequest, reply: Completion, *, thought: int) -> bool:
        """Learn whether the model thinks, and whether log-probabilities come.

        Args:
            request: What was asked.
            reply: What came.
            thought: Reasoning tokens that the server counted.

        Returns:
            Whether the reply was cut inside the model's reasoning, so that it must be asked
            again, now with room to think.
        """
        if request.top_logprobs is not OMIT:
            given = reply.choices[0].tokens is not None
            self.capabilities = replace(self.capabilities, logprobs=given)
        cut = any(
            not choice.text and choice.finish_reason == "length" and (choice.reasoning or thought)
            for choice in reply.choices
        )
        if not cut or self._thinks:
            return False
        self._thinks = request.max_output_tokens < REASONING_BUDGET
        return self._thinks


def _smaller(message: str, asked: int) -> int | None:
    """The largest number below `asked` that the message mentions: the server's limit."""
    numbers = [int(digits) for digits in re.findall(r"\d+", message)]
    return max((n for n in numbers if 1 <= n < asked), default=None)
