"""A model marks the answers: each by itself, or beside the baseline's."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Literal

from clear_pipeline.errors import CallError
from clear_pipeline.llm.base import ChatModel
from clear_pipeline.prompts.reflection import WORDINGS
from clear_pipeline.schema import Example, Message
from clear_pipeline.scoring.preference import EVEN, YesNo, prefer
from clear_pipeline.scoring.reflection import reflect

Form = Literal["yes-no", "rating", "preference"]

_WORDINGS: Final = {"yes-no": "yes_no", "rating": "rating"}
"""The project's questions about one response, see `prompts.reflection`."""


@dataclass(frozen=True, slots=True)
class Mark:
    """What the judge says of one answer.

    Attributes:
        value: In [0, 1], higher is better; None if there is no mark.
        error: Why the judge gave none, though it was asked.
        was_asked: Whether it was.
        has_rival: False where the answer that this one is to be compared with is not there: then
            the row says nothing about any arm.
    """

    value: float | None
    error: str | None = None
    was_asked: bool = True
    has_rival: bool = True


async def judge(
    model: ChatModel, row: Example, answer: str | None, *, form: Form, rival: str | None = None
) -> Mark:
    """Mark one answer; the judge does not see the reference.

    Args:
        model: The judge.
        row: What was asked.
        answer: None = there is none, and nothing is asked.
        form: `yes-no`: the probability of Yes to "is it right", in both orders of the words.
            `rating`: the expected digit of 1 to 5, as 0 to 1. `preference`: how surely `answer` is
            better than `rival`, the mean of both orders.
        rival: For `preference`: the answer of the baseline.

    Returns:
        Without a call: 0.5 for the same text as the rival's.
    """
    if form == "preference" and rival is None:
        return Mark(None, was_asked=False, has_rival=False)
    if answer is None:
        return Mark(None, was_asked=False)
    if form == "preference" and answer == rival:
        return Mark(EVEN, was_asked=False)
    try:
        if form == "preference":
            verdict = await prefer(model, _answered(row, str(rival)), answer, form=YesNo())
            return Mark(verdict.score)
        wording = _WORDINGS[form]
        orders = max(len(WORDINGS[wording].options), 1)
        shown = _answered(row, answer)
        return Mark((await reflect(model, shown, [wording], orders=orders)).score)
    except CallError as error:
        return Mark(None, str(error))


def _answered(row: Example, text: str) -> Example:
    """The row with another response."""
    return replace(row, target=Message(row.target.role, text))
