"""The log-probabilities of a text that the model is made to say."""

from __future__ import annotations

import math
from dataclasses import dataclass

from clear_pipeline.errors import CallError
from clear_pipeline.llm.base import ChatModel
from clear_pipeline.prompts.forced import forced_request, parse_forced
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
    """Make the model say `text`, at most `max_tokens` tokens of it.

    Raises:
        CallError: The call failed, or the server said another text.
    """
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
    return Forced(
        logprob=math.fsum(min(token.logprob, 0.0) for token in tokens),
        tokens=len(tokens),
        cut=choice.finish_reason == "length",
    )
