"""Observed consistency: does the model, asked itself, say what the dataset says?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from clear_pipeline.errors import CallError
from clear_pipeline.llm.base import ChatModel
from clear_pipeline.prompts.answer import draws_request, parse_draw
from clear_pipeline.schema import Example
from clear_pipeline.scoring.bsdetector import observed
from clear_pipeline.scoring.entailment import agreement
from clear_pipeline.scoring.similarity import exact_match, token_f1


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
    model: ChatModel, example: Example, *, k: int, temperature: float, max_tokens: int
) -> list[str]:
    """Up to `k` >= 1 independent responses to the row's request; those cut short are left out.

    Raises:
        CallError: The call failed, or no draw came to a response (`bad_reply`).
    """
    request = draws_request(
        example, samples=range(k), temperature=temperature, max_tokens=max_tokens
    )
    choices = (await model.complete(request)).choices
    draws = [text for text in map(parse_draw, choices) if text is not None]
    if not draws:
        raise CallError(
            "bad_reply",
            f"none of {k} draws came to a response within {max_tokens} tokens",
            transient=False,
        )
    return draws


async def observe(
    model: ChatModel,
    example: Example,
    draws: list[str],
    *,
    alpha: float,
    similarity: Literal["llm", "lexical"],
    via: Literal["logprobs", "text"],
) -> Consistency:
    """Compare every draw with the row's response.

    A draw with the same final answer agrees with it (s = 1) and is not asked about.

    Args:
        model: Judges entailment if `similarity` is `llm`; else no call is made.
        example: The row.
        draws: At least one response.
        alpha: Weight of s against r, in [0, 1].
        similarity: Where s comes from: the model, or the overlap of words.
        via: How the model's verdict is read.

    Raises:
        CallError: A call failed or its reply could not be read.
    """
    matches = [exact_match(example.response, text) for text in draws]
    agreements = []
    for text, match in zip(draws, matches, strict=True):
        if match:
            agreements.append(1.0)
        elif similarity == "llm":
            agreements.append(await agreement(model, example, text, via=via))
        else:
            agreements.append(token_f1(example.response, text))
    parts = zip(agreements, matches, strict=True)
    k = len(draws)
    return Consistency(
        score=sum(observed(s, float(r), alpha=alpha) for s, r in parts) / k,
        entailment=sum(agreements) / k,
        exact_match=sum(matches) / k,
    )
