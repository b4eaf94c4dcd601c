"""Observed consistency: does the model, asked itself, say what the dataset says?"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias

from clear_pipeline.errors import CallError
from clear_pipeline.llm.base import ChatModel
from clear_pipeline.llm.pending import Independent
from clear_pipeline.prompts.answer import DrawForm, draws_request, final_answer, parse_draw
from clear_pipeline.schema import Example
from clear_pipeline.scoring.answers import exact_match
from clear_pipeline.scoring.bsdetector import observed
from clear_pipeline.scoring.choice import withheld
from clear_pipeline.scoring.similarity import token_f1
from clear_pipeline.scoring.tool_calls import both_calls, calls_agreement, same_calls

Agreement: TypeAlias = Callable[[Example, str], Awaitable[float]]
"""How far a draw agrees with the row's response: s, in [0, 1]. May raise CallError."""


class NoDrawError(CallError):
    """No draw came to a response."""


@dataclass(frozen=True, slots=True)
class Consistency:
    """Agreement between the dataset's response and what the model says itself.

    Attributes:
        score: O, mean over the draws of alpha * s + (1 - alpha) * r, in [0, 1].
        entailment: Mean s, semantic agreement, in [0, 1].
        exact_match: Mean r, the share of draws with the same final answer.
    """

    score: float
    entailment: float
    exact_match: float


async def draw(
    model: ChatModel,
    example: Example,
    *,
    k: int,
    form: DrawForm = "reasoned",
    temperature: float,
    max_tokens: int,
) -> list[str]:
    """Up to `k` >= 1 independent responses to the row's request; those cut short are left out.

    A draw that calls tools is the calls as JSON.

    Raises:
        CallError: The call failed.
        NoDrawError: No draw came to a response (`bad_reply`), or all were withheld
            (`content_filter`).
    """
    request = draws_request(
        example, form=form, samples=range(k), temperature=temperature, max_tokens=max_tokens
    )
    choices = (await model.complete(request)).choices
    draws = [text for text in map(parse_draw, choices) if text is not None]
    if not draws:
        if (error := withheld(choices)) is not None:
            raise NoDrawError(error.kind, error.message, transient=False)
        cut = any(choice.finish_reason == "length" for choice in choices)
        why = f"came to a response within {max_tokens} tokens" if cut else "holds a response"
        raise NoDrawError("bad_reply", f"none of {k} draws {why}", transient=False)
    return draws


async def observe(
    example: Example, draws: list[str], *, alpha: float, agree: Agreement
) -> Consistency:
    """Compare every draw with the row's response.

    A draw with the same final answer agrees with it (s = 1) and is not asked about. Tool calls
    are compared by their names and arguments, without a call; against words they do not agree
    (s = r = 0).

    Args:
        example: The row.
        draws: At least one response.
        alpha: Weight of s against r, in [0, 1].
        agree: Where s comes from for two answers in words that differ.

    Raises:
        CallError: A call of `agree` failed.
    """
    pairs = []
    with Independent() as independent:
        for text in draws:
            with independent.part():
                pairs.append(await _compared(example, text, agree))
    k = len(draws)
    return Consistency(
        score=sum(observed(s, float(r), alpha=alpha) for s, r in pairs) / k,
        entailment=sum(s for s, _ in pairs) / k,
        exact_match=sum(r for _, r in pairs) / k,
    )


async def lexical_agreement(example: Example, other: str) -> float:
    """The words that the two final answers share, see `token_f1`; no call is made."""
    return token_f1(final_answer(example.response), final_answer(other))


async def _compared(example: Example, text: str, agree: Agreement) -> tuple[float, bool]:
    """S and r of one draw."""
    ours, theirs = both_calls(example, text)
    if ours is not None and theirs is not None:
        return calls_agreement(ours, theirs), same_calls(ours, theirs)
    if ours is not None or theirs is not None:
        return 0.0, False
    if exact_match(example.response, text):
        return 1.0, True
    return await agree(example, text), False
