"""Two responses to one request, compared: the question, the verdict, and doubt about it.

One of the two comes from the dataset, the other from a model; the judge is not told which. Each
pair is asked in both orders, since models prefer a place (see `scoring.preference`).
"""

from __future__ import annotations

import re
from typing import Final, Literal, TypeAlias

from clear_pipeline.llm.base import ChatRequest
from clear_pipeline.prompts.base import ask, render_request, section
from clear_pipeline.schema import Example, Message

Label: TypeAlias = Literal["A", "B"]

BETTER: Final = (
    "Which response is better: more accurate, more complete and more relevant? "
    "Reply with one letter: A, B, or C if they are equally good."
)
LETTERS: Final = ("A", "B", "C")

YES_NO: Final = (
    "Is response {label} the right answer to the request? Reply with one word: Yes or No."
)

REASONED: Final = (
    "Which response is better? Compare their accuracy first, then completeness, then relevance; "
    "length and style alone make no response better. Give your reasoning in at most three short "
    "sentences. Then write one last line: VERDICT: A, VERDICT: B or VERDICT: tie."
)

DOUBTS: Final = tuple(
    f"{question} Reply with one word: Yes, No or Unsure."
    for question in (
        "A judge came to this verdict: response {label} is better. Is the verdict right?",
        "Are you really sure that response {label} is the better one? Choose again.",
    )
)
"""The two follow-ups of BSDetector (Chen & Mueller 2023), on a verdict instead of an answer."""
DOUBT_VALUES: Final = {"Yes": 1.0, "No": 0.0, "Unsure": 0.5}

_VERDICT = re.compile(r"VERDICT\W*(?:response\W+)?(A|B|tie)\b", re.IGNORECASE)


def _pair(example: Example, first: str, second: str) -> tuple[str, ...]:
    return (
        render_request(example),
        section("response-A", first),
        section("response-B", second),
    )


def one_token_prompt(example: Example, first: str, second: str) -> tuple[Message, ...]:
    """Which of the two is better, as one of `LETTERS`; C is a tie."""
    return ask(*_pair(example, first, second), BETTER)


def yes_no_prompt(
    example: Example, first: str, second: str, *, label: Label
) -> tuple[Message, ...]:
    """Whether the response with this label is right, in sight of the other: Yes or No."""
    return ask(*_pair(example, first, second), YES_NO.replace("{label}", label))


def verdicts_request(
    example: Example,
    first: str,
    second: str,
    *,
    samples: range,
    temperature: float,
    max_tokens: int,
) -> ChatRequest:
    """Short reasoning and a verdict, drawn independently for every sample."""
    return ChatRequest(
        messages=ask(*_pair(example, first, second), REASONED),
        max_output_tokens=max_tokens,
        temperature=temperature,
        samples=samples,
        seed=0,
    )


def parse_verdict(text: str) -> Literal["A", "B", "tie"] | None:
    """The last verdict in a reply to `verdicts_request`; None if there is none."""
    found = _VERDICT.findall(text)
    if not found:
        return None
    word = found[-1].upper()
    return "tie" if word == "TIE" else word


def doubt_prompts(
    example: Example, first: str, second: str, *, label: Label
) -> tuple[tuple[Message, ...], ...]:
    """Is it right that the response with this label is better? Answered by `DOUBT_VALUES`."""
    pair = _pair(example, first, second)
    return tuple(ask(*pair, question.replace("{label}", label)) for question in DOUBTS)
