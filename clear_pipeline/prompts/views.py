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
from clear_pipeline.prompts.code_text import FENCE, Spans, code_of
from clear_pipeline.prompts.openings import goes_on, is_courtesy, is_opening
from clear_pipeline.schema import Example

WHOLE = "whole"
FIRST = "first paragraph"
OTHERS = "all but the first paragraph"
OPENING = "first sentence"
REMAINDER = "first paragraph but its first sentence"
UNADDRESSED = "without what may speak to the judge"

_WORDS = 8
"""Fewer on one line are one sentence: half of "Gen. Lee" answers nothing."""

_CJK = re.compile("[\u3040-\u30ff\u3400-\u9fff]")
"""Written without spaces; each counts as a word."""

_GAP = re.compile(r"\n[^\S\n]*+\n\s*+")
"""An empty line between paragraphs."""

_WIDE = re.compile(r"(?<=\S)[^\S\n]{9,}+(?=\S)")
"""More white space than anybody types by mistake; in several lines it makes a table."""

_MARKER = re.compile(r"\W*(?:\d{1,2}|[A-Za-z])[.)]\s*")
_NEXT_MARKER = re.compile(r"^\s*(?:\d{1,2}|[A-Za-z])[.)]\s", re.MULTILINE)
"""The number of a list's item."""

_DECODER = json.JSONDecoder()


def views(example: Example) -> Mapping[str, Example]:
    """The row as it is, and with parts of its response in place of the response; `WHOLE` first.

    Parts are the first paragraph, all the others, and of the first its first sentence or line and
    the others. JSON with something after it is a paragraph. A response of one sentence is judged
    whole alone, and so is one with a tool call. Code is not cut, and what `is_opening` is judged
    with what follows it.
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
    code = code_of(response)
    start, end = (json_end, json_end) if json_end else _gap(response, code.blocks)
    first, others = response[:start].strip(), response[end:].strip()
    opening, remainder = (first, "") if json_end else _sentences(first, code.blocks)
    request = "\n".join(message.text for message in example.messages)
    apart = addressed(response, request, code=code)
    return {
        FIRST: first,
        OTHERS: "" if is_courtesy(others) else others,
        OPENING: opening,
        REMAINDER: "" if is_courtesy(remainder) else remainder,
        UNADDRESSED: "" if apart is None else apart.rest,
    }


def _json_end(response: str) -> int:
    """Where the object or list ends that the response starts with; 0 if it starts with none.

    "[1] as Smith says" starts with no list.
    """
    if response[0] not in "{[":
        return 0
    try:
        end = _DECODER.raw_decode(response)[1]
    except (ValueError, RecursionError):
        return 0
    goes_on = response[0] == "[" and response[end : end + 1] not in {"", "\n"}
    return 0 if goes_on else end


def _gap(response: str, code: Spans) -> tuple[int, int]:
    """Between the first paragraph and the others; at the end of the response if it has but one.

    None is within code or a fence, or behind a paragraph that `is_opening`.
    """
    gaps = [found.span() for found in _GAP.finditer(response)]
    wide = [found.span() for line in response.split("\n") if (found := _WIDE.search(line))]
    if len(wide) == 1 and (found := _WIDE.search(response)):
        gaps = sorted([*gaps, found.span()])
    begun, fences = 0, 0
    for start, end in gaps:
        paragraph = response[begun:start]
        fences += paragraph.count(FENCE)
        if fences % 2 == 0 and not code.divides(start) and not is_opening(paragraph):
            return start, end
        begun = end
    return len(response), len(response)


def _sentences(paragraph: str, code: Spans) -> tuple[str, str]:
    """The first and the others; code is one piece, and what announces it belongs to it."""
    words = len(paragraph.split()) + len(_CJK.findall(paragraph))
    if "\n" not in paragraph and words < _WORDS:
        return paragraph, ""
    end, fenced, last = 0, False, ""
    is_list = _NEXT_MARKER.search(paragraph, 1) is not None
    for piece in pieces_of(paragraph):
        parted = fenced or code.divides(end) or goes_on(last, piece)
        marker = is_list and _MARKER.fullmatch(last)
        if last and not (parted or marker or is_opening(last)):
            break
        end += len(piece)
        fenced ^= piece.count(FENCE) % 2 == 1
        last = piece.strip()
    return paragraph[:end].strip(), paragraph[end:].strip()
