"""The model answers the request itself: how draws are asked for, and where their answer stands."""

from __future__ import annotations

import json
import re
from typing import Final, Literal, TypeAlias

from clear_pipeline.llm.base import ChatRequest, Choice
from clear_pipeline.prompts.base import ask, render_request
from clear_pipeline.schema import LONE_SURROGATE, Example

DrawForm: TypeAlias = Literal["reasoned", "plain"]
"""How a draw is asked for: reasoning first, or the row's own conversation alone."""

_MARK: Final = "FINAL RESPONSE:"
_MARK_PATTERN = re.compile(
    r"(?:^[*_# \t]*(?i:final response)(?:[*_]*:|[*_]*(?=[ \t]*$))|[*_]*FINAL RESPONSE[*_]*:)"
    r"[*_]*[ \t]*",
    re.MULTILINE,
)
"""At the start of a line in any case; within one exactly as it was asked for."""

QUESTION: Final = (
    "Write the next response of the assistant in this conversation. First think it through in your "
    "own way, step by step, in a few short sentences. Then write a line that says "
    f"{_MARK} and after it the response alone, in the form that the conversation asks for."
)

_THOUGHT_BEGIN = re.compile(r"\s*<(?:think(?:ing)?|thought|reasoning)>", re.IGNORECASE)
_THOUGHT_END = re.compile(r"</(?:think(?:ing)?|thought|reasoning)>\s*", re.IGNORECASE)

_ANSWER_LINE = re.compile(
    r"^[^\w\n]*"
    r"(?:(?i:(?:so |thus |therefore,? |hence,? )?(?:the )?(?:final |correct )?answer(?: is)?"
    r"|(?:la )?respuesta(?: final)?(?: es)?|(?:la )?r\u00e9ponse(?: finale)?(?: est)?"
    r"|(?:die )?antwort(?: ist| lautet)?|(?:\u6700\u7ec8)?\u7b54\u6848[\u662f\u4e3a]?)"
    r"[*_]*\s*[:\uff1a=]|(?P<a>A)[*_]*\s*:)"  # in small letters, or with "=", it may be code
    r"[*_ \t]*(?P<answer>.*?)[*_ \t]*$",
    re.MULTILINE,
)
_LAST_LINE = re.compile(
    r"(?:\A|\n)[^\n]*(?:(?:\banswer is|\brespuesta(?: final)? es|\br\u00e9ponse(?: finale)? est"
    r"|\bantwort(?: ist| lautet)|####)[*_:\s]+|\u7b54\u6848[\u662f\u4e3a][*_:\uff1a\s]*)"
    r"(?P<answer>[^\n]*?)[*_\s]*\Z",
    re.IGNORECASE,
)
"""In English, Spanish, French, German and Chinese, as above."""
_SECOND_SPEAKER = re.compile(r"^[^\w\n]*B[*_]*\s*:", re.MULTILINE)
"""Where B has a line, A is a speaker or an option, and no answer."""
_BOXED = re.compile(r"\\boxed\s*\{")
_JSON_START = re.compile(r"^(?:```(?:json)?[ \t]*\n)?(?=[{\[])", re.MULTILINE)
_PART_OF_MORE = re.compile(r"```|\b(?:output|outputs|prints|returns)\W*\Z", re.IGNORECASE)
"""Before JSON at the end of a text: a program, of which it is the output."""
_REFERENCE = re.compile(r"\[\d+\]")
_MOST_STARTS: Final = 16
"""Lines that are tried as the start of JSON at the end of a text."""


def draws_request(
    example: Example,
    *,
    form: DrawForm = "reasoned",
    samples: range,
    temperature: float,
    max_tokens: int,
) -> ChatRequest:
    """Independent responses to the row's request.

    The row's own response is not shown. `reasoned` asks in one message, with room to reason
    before the response: at temperature > 0 every sample takes its own chain of thought. `plain`
    sends the row's conversation as the chat that it is; so is every row with tools, that the
    model can call them.
    """
    as_it_is = form == "plain" or example.tools is not None
    return ChatRequest(
        messages=example.messages if as_it_is else ask(render_request(example), QUESTION),
        max_output_tokens=max_tokens,
        temperature=temperature,
        samples=samples,
        seed=0,
        tools=example.tools,
    )


def parse_draw(choice: Choice) -> str | None:
    """The response in a draw, without the reasoning before it.

    Returns:
        The tool calls as JSON if there are any. Else the text after the last mark, or the whole
        text without its block of thoughts if the model wrote no mark but came to an end. None if
        that is empty, refused, holds half of a character, or was cut by the token limit.
    """
    cut = choice.finish_reason == "length"
    if choice.withheld or (choice.tool_calls and cut):
        return None
    if LONE_SURROGATE.search(choice.text + (choice.tool_calls or "")):
        return None  # no table can hold it
    if choice.tool_calls:
        return choice.tool_calls
    text = _without_thoughts(choice.text)
    marks = list(_MARK_PATTERN.finditer(text))
    response = text[marks[-1].end() :] if marks else text
    return None if cut else response.strip() or None


def final_answer(text: str) -> str:
    r"""The answer at the end of worked reasoning, for comparing answers and not ways to them.

    Known forms: JSON at the end; else the last of a line `A: 18`, `Answer: 18` or `**The answer
    is:** 18`, a last line that ends in `#### 18` or `the answer is 18`, and `\boxed{18}`. A block
    of thoughts in front (`<think>`) does not count. Without any form, the whole text.
    """
    text = _without_thoughts(text) or text
    if (ending := _json_ending(text)) is not None:
        return ending
    spoken = _SECOND_SPEAKER.search(text) is not None
    found = [
        (m.start("answer"), _answer_of(m, text))
        for m in _ANSWER_LINE.finditer(text)
        if not (m["a"] and spoken)
    ]
    if (line := _LAST_LINE.search(text.rstrip())) is not None:
        found.append((line.start("answer"), line["answer"]))
    found += [
        (m.end(), _in_braces(text, m.end())) for m in [*_BOXED.finditer(text)][-_MOST_STARTS:]
    ]
    return max(((at, said) for at, said in found if said), default=(0, text))[1]


def _without_thoughts(text: str) -> str:
    """What follows the block of thoughts; "" if that does not end."""
    begins = _THOUGHT_BEGIN.match(text) is not None
    ends = list(_THOUGHT_END.finditer(text))
    # Templates that open the block in the prompt leave its end alone in the reply.
    if ends and (begins or not re.search(r"<think", text[: ends[0].start()], re.IGNORECASE)):
        return text[ends[-1].end() :]
    return "" if begins else text


def _answer_of(line: re.Match[str], text: str) -> str:
    """The rest of the line, or all that follows if the line ends at the mark."""
    return line["answer"] or text[line.end() :].strip()


def _in_braces(text: str, start: int) -> str:
    """What stands between the brace before `start` and the one that closes it; "" if none does."""
    depth = 1
    for position in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[position], 0)
        if depth == 0:
            return text[start:position].strip()
    return ""


def _json_ending(text: str) -> str | None:
    """The JSON object or list with which `text` ends, in a code block or not."""
    end = text.rstrip().removesuffix("```").rstrip()
    if not end.endswith(("}", "]")):
        return None
    for _, start in zip(range(_MOST_STARTS), _JSON_START.finditer(end), strict=False):
        ending = end[start.end() :]
        try:
            value = json.loads(ending)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict | list):
            before = end[: start.start()]
            listed = _REFERENCE.fullmatch(ending) and _REFERENCE.search(before)
            return None if listed or _PART_OF_MORE.search(before.rstrip()) else ending
    return None
