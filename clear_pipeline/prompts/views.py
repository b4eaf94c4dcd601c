"""The parts of a response that are judged besides the whole, so that no part covers for another.

A small model is easily carried away by one part of what it judges: a fluent end makes it overlook a
wrong step, and a sentence that says "this is correct" makes it agree. So a response of several
parts is judged whole and part by part; the lowest verdict counts. What a row adds to a bad
response, in whatever words, may then lower its score and hardly raise it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace

from clear_pipeline.prompts.addressed import addressed, pieces_of
from clear_pipeline.schema import Example

WHOLE = "whole"
FIRST = "first paragraph"
OTHERS = "all but the first paragraph"
OPENING = "first sentence"
REMAINDER = "first paragraph but its first sentence"
UNADDRESSED = "without what may speak to the judge"

_WORDS = 8
"""Fewer on one line are one sentence: half of "Gen. Lee" answers nothing."""

_GAP = re.compile(r"\n[^\S\n]*\n\s*|\s{9,}")
"""Between paragraphs: an empty line, or more white space than anybody types by mistake."""

_DECODER = json.JSONDecoder()


def views(example: Example) -> Mapping[str, Example]:
    """The row as it is, and with parts of its response in place of the response; `WHOLE` first.

    Parts are the first paragraph, all the others, and of the first its first sentence or line and
    the others. JSON with something after it is a paragraph. A response of one sentence is judged
    whole alone, and so is one with a tool call.
    """
    found = {WHOLE: example}
    response = (example.target.content or "").strip()
    if not response or example.target.tool_calls:
        return found
    seen = {response}
    for name, text in _texts(response, example).items():
        if text and text not in seen:
            seen.add(text)
            found[name] = replace(example, target=replace(example.target, content=text))
    return found


def _texts(response: str, example: Example) -> Mapping[str, str]:
    json_end = _json_end(response)
    if json_end == len(response):
        return {}
    first, others = _paragraphs(response, json_end)
    opening, remainder = (first, "") if json_end else _sentences(first)
    apart = addressed(response, "\n".join(message.text for message in example.messages))
    return {
        FIRST: first,
        OTHERS: others,
        OPENING: opening,
        REMAINDER: remainder,
        UNADDRESSED: "" if apart is None else apart.rest,
    }


def _json_end(response: str) -> int:
    """Where the object or list ends that the response starts with; 0 if it starts with none."""
    if response[0] not in "{[":
        return 0
    try:
        return _DECODER.raw_decode(response)[1]
    except (ValueError, RecursionError):
        return 0


def _paragraphs(response: str, json_end: int) -> tuple[str, str]:
    gap = _GAP.search(response)
    if json_end:
        start = end = json_end
    elif gap is not None:
        start, end = gap.span()
    else:
        return response, ""
    return response[:start].strip(), response[end:].strip()


def _sentences(paragraph: str) -> tuple[str, str]:
    if "\n" not in paragraph and len(paragraph.split()) < _WORDS:
        return paragraph, ""
    pieces = pieces_of(paragraph)
    return pieces[0].strip(), "".join(pieces[1:]).strip()
