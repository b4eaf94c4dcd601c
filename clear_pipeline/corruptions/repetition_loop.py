"""A response that falls into a loop, as small models and bad sampling settings do."""

from __future__ import annotations

import re
from random import Random
from typing import Final

from clear_pipeline.corruptions.base import Corruption
from clear_pipeline.corruptions.json_text import change_content
from clear_pipeline.corruptions.sample import Sample
from clear_pipeline.schema import Example

_ROUNDS: Final = 8
_LONGEST_WORD: Final = 30
"""Longer text without a space is of a script that is written without them, and loops by its
characters."""

_CJK: Final = "\u3040-\u30ff\u3400-\u9fff"
_WORD: Final = re.compile(rf"(?:[{_CJK}]|[^\s{_CJK}]+)\s*")
"""With the white space after it. Chinese and Japanese have none; each character is a word."""
_CHARACTER: Final = re.compile(r"\S\s*")


def _change(example: Example, _sample: Sample, rng: Random) -> str | None:
    def loop(text: str) -> str | None:
        words = _words(text)
        if not words:
            return None
        until = max(1, int(len(words) * rng.uniform(0.3, 0.7)))
        start = max(0, until - rng.randint(3, 8))
        said = text[: words[until - 1].end()]
        phrase = said[words[start].start() :]
        if len(words) == 1:
            phrase = f" {phrase.strip()}"
        return (said + phrase * _ROUNDS).rstrip()

    return change_content(example.response, loop)


def _words(text: str) -> list[re.Match[str]]:
    words = list(_WORD.finditer(text))
    if len(words) == 1 and len(text.strip()) > _LONGEST_WORD:
        return list(_CHARACTER.finditer(text))
    return words


REPETITION_LOOP = Corruption(
    name="repetition_loop",
    plural="repetition loops",
    explanation="the response repeats its last few words eight times instead of going on",
    change=_change,
    ability="notice that a response repeats itself",
)
