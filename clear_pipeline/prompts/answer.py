"""The model answers the request itself: how draws are asked for, and where their answer stands."""

from __future__ import annotations

import re
from typing import Final

from clear_pipeline.llm.base import ChatRequest, Choice
from clear_pipeline.prompts.base import ask, render_request
from clear_pipeline.schema import Example

ANSWER_VERSION = 1

_MARK: Final = "FINAL RESPONSE:"
_MARK_PATTERN = re.compile(r"[*_#]*FINAL RESPONSE:?[*_]*:?[ \t]*", re.IGNORECASE)

QUESTION: Final = (
    "Write the next response of the assistant in this conversation. First think it through in your "
    "own way, step by step, in a few short sentences. Then write a line that says "
    f"{_MARK} and after it the response alone, in the form that the conversation asks for."
)

_ANSWER_LINE = re.compile(
    r"^\W*(?:(?:so |thus |therefore,? )?(?:the )?(?:final )?answer(?: is)?|A)\s*[:=]\s*(.+?)\s*$"
    r"|^\s*####\s*(.+?)\s*$"
    r"|\\boxed\{([^{}]+)\}",
    re.IGNORECASE | re.MULTILINE,
)


def draws_request(
    example: Example, *, samples: range, temperature: float, max_tokens: int
) -> ChatRequest:
    """Independent responses to the row's request, with room to reason before each.

    The row's own response is not shown. At temperature > 0 every sample takes its own chain of
    thought; all are asked for in one request.
    """
    return ChatRequest(
        messages=ask(render_request(example), QUESTION),
        max_output_tokens=max_tokens,
        temperature=temperature,
        samples=samples,
        seed=0,
    )


def parse_draw(choice: Choice) -> str | None:
    """The response in a draw, without the reasoning before it.

    Returns:
        The text after the last mark; the whole text if the model wrote no mark but came to an
        end; None if it is empty or the token limit came before the mark.
    """
    marks = list(_MARK_PATTERN.finditer(choice.text))
    if marks:
        return choice.text[marks[-1].end() :].strip() or None
    if choice.finish_reason == "length":
        return None
    return choice.text.strip() or None


def final_answer(text: str) -> str:
    r"""The answer at the end of worked reasoning, for comparing answers and not ways to them.

    Known forms: a line `A: 18`, `Answer: 18`, `The answer is: 18`, `#### 18`, and `\boxed{18}`;
    the last one counts. Without any, the whole text.
    """
    found = [group for line in _ANSWER_LINE.findall(text) for group in line if group]
    return found[-1] if found else text
