"""The log-probabilities of a given text, in whatever way its endpoint gives them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from clear_pipeline.errors import CallError
from clear_pipeline.llm.base import ChatModel, Token
from clear_pipeline.prompts.forced import (
    forced_request,
    length_request,
    parse_forced,
    parse_scored,
    scored_request,
)
from clear_pipeline.schema import Message


@dataclass(frozen=True, slots=True)
class Forced:
    """How likely a text is as the next turn, or the first tokens of it.

    Attributes:
        logprob: Natural logarithm of its probability, <= 0.
        tokens: How many tokens that is the sum of, >= 1.
        cut: True if the text goes on after them.
    """

    logprob: float
    tokens: int
    cut: bool


async def force(
    model: ChatModel, messages: tuple[Message, ...], text: str, *, max_tokens: int
) -> Forced:
    """How likely the model finds `text` as the next turn, or its first `max_tokens` tokens.

    By a grammar that allows nothing else where the endpoint takes one (llama.cpp, one call), else
    by the log-probabilities of the prompt (vLLM, two calls, of which the first depends on
    `messages` alone).

    Raises:
        CallError: A call failed, or the server scored another text.
    """
    if not model.capabilities.grammar:
        return await _score(model, messages, text, max_tokens=max_tokens)
    if model.capabilities.llguidance:
        try:
            return await _force(model, messages, text, max_tokens=max_tokens, llguidance=True)
        except CallError as error:
            if error.kind != "bad_reply":
                raise
            # The text spells a control token ("<|im_end|>"), which is not said as text.
    return await _force(model, messages, text, max_tokens=max_tokens, llguidance=False)


async def _force(
    model: ChatModel,
    messages: tuple[Message, ...],
    text: str,
    *,
    max_tokens: int,
    llguidance: bool,
) -> Forced:
    request = forced_request(messages, text, max_tokens=max_tokens, llguidance=llguidance)
    choice = (await model.complete(request)).choices[0]
    tokens = parse_forced(choice, text)
    # A model that thinks is given more room than that.
    return _summed(tokens[:max_tokens], cut=len(tokens) > max_tokens or choice.text != text)


async def _score(
    model: ChatModel, messages: tuple[Message, ...], text: str, *, max_tokens: int
) -> Forced:
    start = (await model.complete(length_request(messages))).usage.prompt
    if start == 0:
        raise CallError("bad_reply", "the server counts no prompt tokens", transient=False)
    choice = (await model.complete(scored_request(messages, text, start=start))).choices[0]
    tokens = parse_scored(choice, text)
    return _summed(tokens[:max_tokens], cut=len(tokens) > max_tokens)


def _summed(tokens: Sequence[Token], *, cut: bool) -> Forced:
    total = math.fsum(min(token.logprob, 0.0) for token in tokens)
    return Forced(logprob=total, tokens=len(tokens), cut=cut)
