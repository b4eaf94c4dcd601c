"""Does one response to a request contradict another? Asked in both directions, one letter each."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

from clear_pipeline.prompts.base import ask, render_row, section
from clear_pipeline.schema import Example, Message

CHOICES: Final = ("A", "B", "C")
CONTRADICTION: Final = "B"

Which: TypeAlias = Literal["first", "second"]
"""The row's own response, or the other one."""

_LETTERS: Final = (
    "(A) says the same or follows from it, (B) contradicts it, or (C) is neither. "
    "Reply with one letter: A, B or C."
)


def entailment_prompt(
    example: Example, other: str, *, hypothesis: Which, passage: str | None = None
) -> tuple[Message, ...]:
    """Ask whether one response, the hypothesis, contradicts the other, the premise.

    Both are seen under the request, "Question ... Answer ...": inference on a bare "1560" means
    nothing. All prompts about a pair differ at their end only.

    Args:
        example: The row; its response is the first.
        other: The second response.
        hypothesis: Which of them is judged, supposing that the other is right.
        passage: Only this part of the hypothesis is judged; None = all of it.
    """
    premise = "second" if hypothesis == "first" else "first"
    parts = [render_row(example), section("second-response", other)]
    judged = f"the {hypothesis} response"
    if passage is not None:
        parts.append(section("passage", passage))
        judged = f"that passage of {judged}"
    question = f"Suppose that the {premise} response is right. Then {judged} {_LETTERS}"
    return ask(*parts, question)
