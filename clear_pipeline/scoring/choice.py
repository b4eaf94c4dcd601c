"""Asking a model for one of a few words, in whatever way its endpoint gives a probability."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from clear_pipeline.errors import CallError
from clear_pipeline.llm.base import ChatModel, ChatRequest
from clear_pipeline.prompts.choices import choice_probabilities, parse_choice
from clear_pipeline.schema import Message
from clear_pipeline.scoring.forced import force

Via: TypeAlias = Literal["logprobs", "grammar", "text"]

MIN_CHOICE_MASS = 0.5
"""Below this share of probability on the choices, renormalising it would amplify noise."""
TOP_LOGPROBS = 20
"""Alternatives asked for: OpenAI's upper limit."""
REPLY_TOKENS = 16
"""Room for a reply in words, "The answer is (B)."."""


@dataclass(frozen=True, slots=True)
class ChoiceReply:
    """What the model chose.

    Attributes:
        probabilities: Per choice, in [0, 1], together 1; 1 and 0s where text was parsed.
        mass: Probability on any choice before renormalising, or None where text was parsed.
        via: How it was read.
    """

    probabilities: Mapping[str, float]
    mass: float | None
    via: Via


async def ask_choice(
    model: ChatModel,
    messages: tuple[Message, ...],
    *,
    choices: Sequence[str],
    via: Literal["logprobs", "text"] = "logprobs",
) -> ChoiceReply:
    """Ask for one of `choices`.

    With `logprobs`: one token with its alternatives. If less than `MIN_CHOICE_MASS` falls on the
    choices, each choice is forced by grammar where the endpoint takes one, which gives its exact
    probability; else, and where the endpoint gives no log-probabilities, the reply is read as
    text.

    Raises:
        CallError: A call failed, or the text names no choice (`bad_reply`).
    """
    if via == "logprobs" and model.capabilities.logprobs is not False:
        reply = await _by_logprobs(model, messages, choices)
        if reply is not None and (reply.mass or 0.0) >= MIN_CHOICE_MASS:
            return reply
        if reply is not None and model.capabilities.grammar:
            return await _by_grammar(model, messages, choices)
    return await _by_text(model, messages, choices)


async def _by_logprobs(
    model: ChatModel, messages: tuple[Message, ...], choices: Sequence[str]
) -> ChoiceReply | None:
    request = ChatRequest(messages, 1, 0.0, top_logprobs=TOP_LOGPROBS)
    tokens = (await model.complete(request)).choices[0].tokens
    if not tokens:
        return None
    weights = choice_probabilities(tokens[0], choices)
    mass = sum(weights.values())
    shares = {name: weight / mass if mass else 0.0 for name, weight in weights.items()}
    return ChoiceReply(shares, min(mass, 1.0), "logprobs")


async def _by_grammar(
    model: ChatModel, messages: tuple[Message, ...], choices: Sequence[str]
) -> ChoiceReply:
    logs: dict[str, float] = {}
    for name in choices:
        logs[name] = (await force(model, messages, name, max_tokens=REPLY_TOKENS)).logprob
    highest = max(logs.values())
    weights = {name: math.exp(log - highest) for name, log in logs.items()}
    total = math.fsum(weights.values())
    mass = math.fsum(math.exp(log) for log in logs.values())
    shares = {name: weight / total for name, weight in weights.items()}
    return ChoiceReply(shares, min(mass, 1.0), "grammar")


async def _by_text(
    model: ChatModel, messages: tuple[Message, ...], choices: Sequence[str]
) -> ChoiceReply:
    text = (await model.complete(ChatRequest(messages, REPLY_TOKENS, 0.0))).text
    chosen = parse_choice(text, choices)
    if chosen is None:
        raise CallError(
            "bad_reply",
            f"asked for one of {', '.join(choices)}, got {text[:80]!r}",
            transient=False,
        )
    return ChoiceReply({name: float(name == chosen) for name in choices}, None, "text")
