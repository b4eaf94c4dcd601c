"""Does one response to a request contradict another? Asked in both directions, one letter each."""

from __future__ import annotations

from typing import Final

from clear_pipeline.prompts.base import ask, fence, render_row, row_code
from clear_pipeline.schema import Example, Message

ENTAILMENT_VERSION = 1

CHOICES: Final = ("A", "B", "C")
CONTRADICTION: Final = "B"

_FORWARD: Final = (
    "Suppose that the first response is right. Then the second response (A) says the same or "
    "follows from it, (B) contradicts it, or (C) is neither. Reply with one letter: A, B or C."
)
_BACKWARD: Final = (
    "Suppose that the second response is right. Then the first response (A) says the same or "
    "follows from it, (B) contradicts it, or (C) is neither. Reply with one letter: A, B or C."
)


def entailment_prompts(
    example: Example, other: str
) -> tuple[tuple[Message, ...], tuple[Message, ...]]:
    """Ask whether the row's response contradicts `other`, and the other way round.

    Premise and hypothesis are both seen under the request, "Question ... Answer ...": inference on
    a bare "1560" means nothing. The two prompts differ in the last sentence only.
    """
    code = row_code(example, other)
    parts = (
        render_row(example),
        f"That response is the first. A second one follows, between tags with the code {code}.",
        fence("response", other, code),
    )
    return ask(*parts, _FORWARD), ask(*parts, _BACKWARD)
