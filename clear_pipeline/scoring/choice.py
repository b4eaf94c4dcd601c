"""Asking a model for one of a few words, in whatever way its endpoint gives a probability."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, TypeAlias

from clear_pipeline.errors import CallError
from clear_pipeline.llm.base import ChatModel, ChatRequest, Choice
from clear_pipeline.llm.pending import Independent
from clear_pipeline.prompts.base import question_of
from clear_pipeline.prompts.choices import (
    choice_probabilities,
    choice_schema,
    first_visible,
    offered_words,
    parse_verdict,
    schema_probabilities,
)
from clear_pipeline.schema import Message
from clear_pipeline.scoring.forced import force

Via: TypeAlias = Literal["logprobs", "grammar", "schema", "text"]

WEAKEST_LAST: Final[tuple[Via, ...]] = ("logprobs", "grammar", "schema", "text")

MIN_CHOICE_MASS = 0.5
"""Below this share of probability on the choices, renormalising it would amplify noise."""
TOP_LOGPROBS = 20
"""Alternatives asked for: OpenAI's upper limit."""
REPLY_TOKENS = 16
"""Room for a reply in words, "The answer is (B)."."""
SCHEMA_TOKENS = 32
"""Room for a reply in JSON, `{"answer": "Unsure"}`, white space included."""
ARGUED_TOKENS = 1024
"""Room for a model that argues before it names its choice."""


@dataclass(frozen=True, slots=True)
class ChoiceReply:
    """What the model chose.

    Attributes:
        probabilities: Per choice, in [0, 1], together 1; shares of the samples where text was
            parsed, so 1 and 0s for one sample.
        mass: Probability of the unconstrained first token on any choice, before renormalising;
            None where text was parsed.
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
    text_samples: int = 1,
) -> ChoiceReply:
    """Ask for one of `choices`.

    With `logprobs`: one token with its alternatives. If less than `MIN_CHOICE_MASS` falls on the
    choices, nothing but the choices is allowed: by a grammar for each of them, which gives its
    exact probability, or by a JSON schema, where the endpoint takes one. Else, and where the
    endpoint gives no log-probabilities, the reply is read as text. A model that thinks before it
    answers is read by the first token after its reasoning, or by its text.

    Args:
        model: Who is asked.
        messages: The question.
        choices: Distinct also without case.
        via: `text` asks for no log-probabilities.
        text_samples: Where text is read: 1 = one reply at temperature 0, whose probability is 0
            or 1; more = so many at temperature 1, whose shares count.

    Raises:
        CallError: A call failed, the reply was withheld (`content_filter`), or the text names no
            choice (`bad_reply`).
    """
    if via == "logprobs" and model.capabilities.logprobs is not False:
        reply = await _by_logprobs(model, messages, choices)
        if reply is not None and (reply.mass is None or reply.mass >= MIN_CHOICE_MASS):
            return reply
        if reply is not None and model.capabilities.grammar:
            return await _by_grammar(model, messages, choices, mass=reply.mass)
        if reply is not None and model.capabilities.schema is not False:
            constrained = await _by_schema(
                model, messages, choices, mass=reply.mass, prose=text_samples == 1
            )
            if constrained is not None:
                return constrained
    return await _by_text(model, messages, choices, text_samples)


async def ask_orders(
    model: ChatModel,
    orders: Iterable[tuple[tuple[Message, ...], Mapping[str, str]]],
    *,
    via: Literal["logprobs", "text"] = "logprobs",
    text_samples: int = 1,
) -> ChoiceReply:
    """Ask one question with its options in several orders, and average per option.

    A model that prefers a place or a letter to what stands there so cancels itself out.

    Args:
        model: Who is asked.
        orders: Per order the prompt and, for each choice in the order shown, the option that it
            stands for. At least one; the same options in each. Prompts that differ only at their
            end find the rest of them in the server's cache.
        via: As in `ask_choice`.
        text_samples: As in `ask_choice`.

    Returns:
        Probabilities per option; the smallest mass and the weakest way of all orders.

    Raises:
        CallError: As in `ask_choice`.
    """
    totals: defaultdict[str, float] = defaultdict(float)
    replies = []
    with Independent() as independent:
        for messages, option in orders:
            with independent.part():
                reply = await ask_choice(
                    model, messages, choices=tuple(option), via=via, text_samples=text_samples
                )
                replies.append(reply)
                for choice, probability in reply.probabilities.items():
                    totals[option[choice]] += probability
    known = [reply.mass for reply in replies if reply.mass is not None]
    return ChoiceReply(
        {name: total / len(replies) for name, total in totals.items()},
        min(known) if known else None,
        max((reply.via for reply in replies), key=WEAKEST_LAST.index),
    )


async def _by_logprobs(
    model: ChatModel, messages: tuple[Message, ...], choices: Sequence[str]
) -> ChoiceReply | None:
    """The first token, or else the text of a model that thinks. None without log-probabilities."""
    choice = await _ask(model, ChatRequest(messages, 1, 0.0, top_logprobs=TOP_LOGPROBS))
    token = first_visible(choice)
    weights = {} if token is None else choice_probabilities(token, choices)
    mass = min(math.fsum(weights.values()), 1.0)
    if choice.reasoning is not None and mass < MIN_CHOICE_MASS:
        # It had room to think; asking in another way would have it think again.
        chosen = _verdict(messages, choice, choices)
        if chosen is None:
            raise _unreadable([choice], choices)
        return _certain(chosen, choices)
    return ChoiceReply(_shares(weights), mass, "logprobs") if weights else None


async def _by_grammar(
    model: ChatModel, messages: tuple[Message, ...], choices: Sequence[str], *, mass: float | None
) -> ChoiceReply:
    logs: dict[str, float] = {}
    for name in choices:
        logs[name] = (await force(model, messages, name, max_tokens=REPLY_TOKENS)).logprob
    highest = max(logs.values())
    weights = {name: math.exp(log - highest) for name, log in logs.items()}
    return ChoiceReply(_shares(weights), mass, "grammar")


async def _by_schema(
    model: ChatModel,
    messages: tuple[Message, ...],
    choices: Sequence[str],
    *,
    mass: float | None,
    prose: bool,
) -> ChoiceReply | None:
    """The choices as an enum of a JSON schema; None where the endpoint does not keep to it.

    With `prose`, a verdict in words is taken as it is: asked for words, the model would say it too.
    """
    request = ChatRequest(
        messages,
        SCHEMA_TOKENS,
        0.0,
        top_logprobs=TOP_LOGPROBS,
        response_format=choice_schema(choices),
    )
    try:
        choice = await _ask(model, request)
    except CallError as error:
        if error.kind == "bad_request" and model.capabilities.schema is False:
            return None  # the refusal has taught so
        raise
    found = schema_probabilities(choice, choices)
    if found is not None:
        return ChoiceReply(_shares(found), mass, "schema")
    chosen = _verdict(messages, choice, choices) if prose else None
    return None if chosen is None else _certain(chosen, choices)


async def _by_text(
    model: ChatModel, messages: tuple[Message, ...], choices: Sequence[str], samples: int
) -> ChoiceReply:
    request = ChatRequest(messages, REPLY_TOKENS, 0.0)
    if samples > 1:
        request = replace(request, temperature=1.0, samples=range(samples), seed=0)
    replies = (await model.complete(request)).choices
    named = _named(messages, replies, choices)
    if not named and any(r.finish_reason == "length" and r.reasoning is None for r in replies):
        argued = replace(request, max_output_tokens=ARGUED_TOKENS)
        replies = (await model.complete(argued)).choices
        named = _named(messages, replies, choices)
    if not named:
        raise _unreadable(replies, choices)
    counts = Counter(named)
    return ChoiceReply({name: counts[name] / len(named) for name in choices}, None, "text")


def _verdict(messages: tuple[Message, ...], reply: Choice, choices: Sequence[str]) -> str | None:
    offered = offered_words(question_of(messages), choices)
    return parse_verdict(reply.text, choices, offered=offered)


def _named(
    messages: tuple[Message, ...], replies: Sequence[Choice], choices: Sequence[str]
) -> list[str]:
    given = (reply for reply in replies if not reply.withheld)
    verdicts = (_verdict(messages, reply, choices) for reply in given)
    return [verdict for verdict in verdicts if verdict is not None]


def _unreadable(replies: Sequence[Choice], choices: Sequence[str]) -> CallError:
    if (error := withheld(replies)) is not None:
        return error
    first = replies[0]
    if not first.text and first.reasoning is not None:
        return CallError("bad_reply", "the reasoning came to no answer", transient=False)
    asked = f"asked for one of {', '.join(choices)}, got {first.text[:80]!r}"
    return CallError("bad_reply", asked, transient=False)


async def _ask(model: ChatModel, request: ChatRequest) -> Choice:
    choice = (await model.complete(request)).choices[0]
    if (error := withheld([choice])) is not None:
        raise error
    return choice


def withheld(replies: Sequence[Choice]) -> CallError | None:
    """The error of a question to which every reply was withheld; None if one was given."""
    if not all(reply.withheld for reply in replies):
        return None
    return CallError(
        "content_filter", "the model declined to answer, or its provider withheld the reply",
        transient=False,
    )  # fmt: skip


def _certain(chosen: str, choices: Sequence[str]) -> ChoiceReply:
    return ChoiceReply({name: float(name == chosen) for name in choices}, None, "text")


def _shares(weights: Mapping[str, float]) -> dict[str, float]:
    total = math.fsum(weights.values())
    return {name: weight / total if total else 0.0 for name, weight in weights.items()}
