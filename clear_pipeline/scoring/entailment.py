"""Semantic agreement of two responses to one request, by the model that scores."""

from __future__ import annotations

from typing import Literal

from clear_pipeline.llm.base import ChatModel
from clear_pipeline.llm.pending import Independent
from clear_pipeline.prompts.entailment import CHOICES, CONTRADICTION, Which, entailment_prompt
from clear_pipeline.schema import Example
from clear_pipeline.scoring.choice import ask_choice
from clear_pipeline.scoring.passages import passages


async def agreement(
    model: ChatModel, example: Example, other: str, *, via: Literal["logprobs", "text"]
) -> float:
    """How far two responses agree: s = 1 - (p(y, other) + p(other, y)) / 2, in [0, 1].

    p(a, b) is the probability that b contradicts a, with a as the premise. A long b is judged
    passage by passage and p is the mean over its sentences: the largest would grow with the
    number of noisy verdicts and so with the length of b.

    One call of one token per passage and direction, one after the other: all but the first find
    their prefix cached. Nothing is cut: a pair that the model's window cannot hold is an error.

    Raises:
        CallError: A call failed or its reply could not be read.

    Source: Chen & Mueller 2023 (arXiv 2308.16175), observed consistency; with the scoring model
    in the place of an NLI model, see docs/design.md.
    """
    with Independent() as independent:
        with independent.part():
            forward = await _contradiction(model, example, other, hypothesis="second", via=via)
        with independent.part():
            backward = await _contradiction(model, example, other, hypothesis="first", via=via)
    return 1.0 - (forward + backward) / 2


async def _contradiction(
    model: ChatModel,
    example: Example,
    other: str,
    *,
    hypothesis: Which,
    via: Literal["logprobs", "text"],
) -> float:
    parts = passages(example.response if hypothesis == "first" else other)
    total = 0.0
    with Independent() as independent:
        for part in parts:
            passage = part.text if len(parts) > 1 else None
            prompt = entailment_prompt(example, other, hypothesis=hypothesis, passage=passage)
            with independent.part():
                reply = await ask_choice(model, prompt, choices=CHOICES, via=via)
                total += part.sentences * reply.probabilities[CONTRADICTION]
    return min(1.0, total / sum(part.sentences for part in parts))
