"""Semantic agreement of two responses to one request, by the model that scores."""

from __future__ import annotations

from typing import Literal

from clear_pipeline.llm.base import ChatModel
from clear_pipeline.prompts.entailment import CHOICES, CONTRADICTION, entailment_prompts
from clear_pipeline.schema import Example
from clear_pipeline.scoring.choice import ask_choice


async def agreement(
    model: ChatModel, example: Example, other: str, *, via: Literal["logprobs", "text"]
) -> float:
    """How far two responses agree: s = 1 - (p(y, other) + p(other, y)) / 2, in [0, 1].

    p(a, b) is the probability that a contradicts b, with a as the premise.

    Two calls of one token each, one after the other: the second finds its prefix cached.

    Raises:
        CallError: A call failed or its reply could not be read.

    Source: Chen & Mueller 2023 (arXiv 2308.16175), observed consistency; with the scoring model
    in the place of an NLI model, see docs/design.md.
    """
    contradictions = [
        (await ask_choice(model, prompt, choices=CHOICES, via=via)).probabilities[CONTRADICTION]
        for prompt in entailment_prompts(example, other)
    ]
    return 1.0 - sum(contradictions) / 2
