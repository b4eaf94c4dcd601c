"""Self-reflection certainty: the model judges the dataset's response in one word."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

from clear_pipeline.llm.base import ChatModel
from clear_pipeline.prompts.addressed import addressed
from clear_pipeline.prompts.reflection import WORDINGS, reflection_orders
from clear_pipeline.schema import Example
from clear_pipeline.scoring.choice import WEAKEST_LAST, Via, ask_orders


@dataclass(frozen=True, slots=True)
class Reflection:
    """The verdict on one row.

    Attributes:
        score: S, mean over the questions of the expected value of the choice, in [0, 1].
        values: By wording, the expected value of its choice, in [0, 1]; 1 = good. Where a part of
            the response was set aside, the lower of the values with and without it.
        choice_mass: Smallest probability that fell on the choices of a question, in [0, 1];
            None where only text was read. Below 0.5 the score is close to noise.
        via: How the replies were read; the weakest way, if they differ.
        addressed: What in the response may speak to the judge, and was set aside; None = nothing.
        as_written: `score` with the whole response, where something was set aside.
    """

    score: float
    values: Mapping[str, float]
    choice_mass: float | None
    via: Via
    addressed: str | None = None
    as_written: float | None = None


async def reflect(
    model: ChatModel,
    example: Example,
    wordings: Sequence[str],
    *,
    via: Literal["logprobs", "text"] = "logprobs",
    orders: int = 1,
    text_samples: int = 1,
) -> Reflection:
    """Ask every wording, one after the other, so that all but the first find the row cached.

    A response that may speak to its judge is asked about twice, with and without what does, and the
    lower value of each wording counts (see `prompts.addressed`).

    Args:
        model: The judge.
        example: The row.
        wordings: Names in `WORDINGS`, at least one.
        via: `text` gives the paper's hard values; `logprobs` their expectation.
        orders: Each wording is asked in so many orders of its options, and averaged; at most as
            many as it has options, and once if its order is fixed.
        text_samples: As in `scoring.choice.ask_choice`.

    Raises:
        CallError: A call failed or its reply could not be read.
    """
    ask = partial(
        _reflect, model, wordings=wordings, via=via, orders=orders, text_samples=text_samples
    )
    whole = await ask(example)
    request = "\n".join(message.text for message in example.messages)
    apart = addressed(example.target.content or "", request)
    if apart is None:
        return whole
    rest = await ask(replace(example, target=replace(example.target, content=apart.rest)))
    values = {name: min(value, rest.values[name]) for name, value in whole.values.items()}
    known = [mass for mass in (whole.choice_mass, rest.choice_mass) if mass is not None]
    return Reflection(
        score=_mean(values),
        values=values,
        choice_mass=min(known) if known else None,
        via=max(whole.via, rest.via, key=WEAKEST_LAST.index),
        addressed=apart.text,
        as_written=whole.score,
    )


async def _reflect(
    model: ChatModel,
    example: Example,
    *,
    wordings: Sequence[str],
    via: Literal["logprobs", "text"],
    orders: int,
    text_samples: int,
) -> Reflection:
    values: dict[str, float] = {}
    masses, ways = [], []
    for name in wordings:
        wording = WORDINGS[name]
        prompts = reflection_orders(example, wording, samples=orders)
        reply = await ask_orders(model, prompts, via=via, text_samples=text_samples)
        expected = sum(p * wording.values[c] for c, p in reply.probabilities.items())
        values[name] = min(expected, 1.0)
        masses.append(reply.mass)
        ways.append(reply.via)
    known = [mass for mass in masses if mass is not None]
    return Reflection(
        score=_mean(values),
        values=values,
        choice_mass=min(known) if known else None,
        via=max(ways, key=WEAKEST_LAST.index),
    )


def _mean(values: Mapping[str, float]) -> float:
    return min(sum(values.values()) / len(values), 1.0)
