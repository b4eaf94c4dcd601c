"""Self-reflection certainty: the model judges the dataset's response in one word."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

from clear_pipeline.llm.base import ChatModel
from clear_pipeline.llm.pending import Independent
from clear_pipeline.prompts.reflection import WORDINGS, reflection_orders
from clear_pipeline.prompts.views import WHOLE, views
from clear_pipeline.schema import Example
from clear_pipeline.scoring.choice import WEAKEST_LAST, Via, ask_orders


@dataclass(frozen=True, slots=True)
class Reflection:
    """The verdict on one row.

    Attributes:
        score: S, mean over the questions of the expected value of the choice, in [0, 1].
        values: By wording, the expected value of its choice, in [0, 1]; 1 = good. Judged in parts,
            the lowest over the views.
        choice_mass: Smallest probability that fell on the choices of a question, in [0, 1];
            None where only text was read. Below 0.5 the score is close to noise.
        via: How the replies were read; the weakest way, if they differ.
        whole: `score` of the response as a whole.
        lowest: The view with the lowest score, see `prompts.views`.
    """

    score: float
    values: Mapping[str, float]
    choice_mass: float | None
    via: Via
    whole: float
    lowest: str


async def reflect(
    model: ChatModel,
    example: Example,
    wordings: Sequence[str],
    *,
    via: Literal["logprobs", "text"] = "logprobs",
    orders: int = 1,
    text_samples: int = 1,
    in_parts: bool = False,
) -> Reflection:
    """Ask every wording, one after the other, so that all but the first find the row cached.

    Args:
        model: The judge.
        example: The row.
        wordings: Names in `WORDINGS`, at least one.
        via: `text` gives the paper's hard values; `logprobs` their expectation.
        orders: Each wording is asked in so many orders of its options, and averaged; at most as
            many as it has options, and once if its order is fixed.
        text_samples: As in `scoring.choice.ask_choice`.
        in_parts: Each of the row's `views` is asked about, and the lowest value of each wording
            counts.

    Raises:
        CallError: A call failed or its reply could not be read.
    """
    ask = partial(
        _reflect, model, wordings=wordings, via=via, orders=orders, text_samples=text_samples
    )
    seen: dict[str, _View] = {}
    with Independent() as independent:
        for name, view in (views(example) if in_parts else {WHOLE: example}).items():
            with independent.part():
                seen[name] = await ask(view)
    values = {name: min(view.values[name] for view in seen.values()) for name in wordings}
    known = [view.choice_mass for view in seen.values() if view.choice_mass is not None]
    return Reflection(
        score=_mean(values),
        values=values,
        choice_mass=min(known) if known else None,
        via=max((view.via for view in seen.values()), key=WEAKEST_LAST.index),
        whole=_mean(seen[WHOLE].values),
        lowest=min(seen, key=lambda name: _mean(seen[name].values)),
    )


@dataclass(frozen=True, slots=True)
class _View:
    """The verdict on one view of a row."""

    values: Mapping[str, float]
    choice_mass: float | None
    via: Via


async def _reflect(
    model: ChatModel,
    example: Example,
    *,
    wordings: Sequence[str],
    via: Literal["logprobs", "text"],
    orders: int,
    text_samples: int,
) -> _View:
    values: dict[str, float] = {}
    replies = {}
    with Independent() as independent:
        for name in wordings:
            prompts = reflection_orders(example, WORDINGS[name], samples=orders)
            with independent.part():
                replies[name] = await ask_orders(model, prompts, via=via, text_samples=text_samples)
    for name, reply in replies.items():
        expected = sum(p * WORDINGS[name].values[c] for c, p in reply.probabilities.items())
        values[name] = min(expected, 1.0)
    known = [reply.mass for reply in replies.values() if reply.mass is not None]
    return _View(
        values=values,
        choice_mass=min(known) if known else None,
        via=max((reply.via for reply in replies.values()), key=WEAKEST_LAST.index),
    )


def _mean(values: Mapping[str, float]) -> float:
    return min(sum(values.values()) / len(values), 1.0)
