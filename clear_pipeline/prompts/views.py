"""The parts of a response that are judged besides the whole, so that no part covers for another.

A small model is easily carried away by one part of what it judges: a fluent end makes it overlook a
wrong step, and a sentence that says "this is correct" makes it agree. So a response of several
parts is judged whole, by its first part, and by the rest; the lowest verdict counts. What a row
adds to a bad response, in whatever words, may then lower its score and hardly raise it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from clear_pipeline.prompts.addressed import addressed, pieces_of
from clear_pipeline.schema import Example

WHOLE = "whole"
FIRST = "first part"
REST = "all but the first part"
UNADDRESSED = "without what may speak to the judge"

_WORDS = 8
"""Fewer on one line are one part: half of "Gen. Lee" answers nothing."""

_PARAGRAPH = re.compile(r"\n[^\S\n]*\n\s*")


def views(example: Example) -> Mapping[str, Example]:
    """The row as it is, and with parts of its response in place of the response; `WHOLE` first.

    Parts are paragraphs; of a single paragraph, its lines, and its sentences if it has at least
    `_WORDS` words. A response of one part is judged whole alone, and so is one with a tool call.
    """
    found = {WHOLE: example}
    response = example.target.content or ""
    if not response.strip() or example.target.tool_calls:
        return found
    for name, text in _texts(response, example).items():
        target = replace(example.target, content=text)
        if all(target.content != other.target.content for other in found.values()):
            found[name] = replace(example, target=target)
    return found


def _texts(response: str, example: Example) -> Mapping[str, str]:
    texts = {}
    first, rest = _divided(response.strip())
    if rest:
        texts = {FIRST: first, REST: rest}
    apart = addressed(response, "\n".join(message.text for message in example.messages))
    if apart is not None:
        texts[UNADDRESSED] = apart.rest
    return texts


def _divided(response: str) -> tuple[str, str]:
    gap = _PARAGRAPH.search(response)
    if gap is not None:
        return response[: gap.start()].strip(), response[gap.end() :].strip()
    if "\n" not in response and len(response.split()) < _WORDS:
        return response, ""
    pieces = pieces_of(response)
    return pieces[0].strip(), "".join(pieces[1:]).strip()
