"""Long answers in passages of whole sentences, so that none is cut to fit a comparison."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Final, NamedTuple

PASSAGE_SENTENCES: Final = 3
"""Sentences that are compared at once: a short answer is one passage."""
MAX_PASSAGES: Final = 8
"""A longer answer gets longer passages, not more: its calls are bounded and no text is left out."""

_BOUNDARY = re.compile(
    r"(?P<block>^(?P<fence>`{3,}|~{3,}).*?(?:^(?P=fence)`*~*[ \t]*$|\Z))"
    r"|(?<![.!?\u2026])(?P<mark>[.!?\u2026]+)[\"')\]\u201d\u2019\u00bb*_]*(?=\s|$)"
    r"|[\u3002\uff01\uff1f]+[\u300d\u300f\u201d\uff09]*"
    r"|(?P<line>\n[ \t]*(?:\n\s*)?)",
    re.MULTILINE | re.DOTALL,
)
_LAST_WORD = re.compile(r"(?:^|(?<=[\s(\[\"']))[^\s(\[\"']*$")
_LONGEST_WORD: Final = 40
"""So many characters are searched for an abbreviation."""
_ALWAYS: Final = frozenset([
    "mr", "mrs", "ms", "dr", "prof", "st", "vs", "e.g", "i.e", "cf", "jr", "sr", "gen", "col",
    "sgt", "rev", "hon", "approx", "inc", "ltd", "viz",
])  # fmt: skip
_BEFORE_A_NUMBER: Final = frozenset(
    ["no", "nos", "fig", "figs", "vol", "p", "pp", "ch", "sec", "eq", "art", "ca", "c"]
)


class Passage(NamedTuple):
    """Consecutive sentences.

    Attributes:
        text: The sentences as they stand, with what is between them.
        sentences: How many they are.
    """

    text: str
    sentences: int


def passages(text: str) -> list[Passage]:
    """`text` in at most `MAX_PASSAGES` passages of nearly equal numbers of sentences.

    Together they hold all of `text` but white space at their ends. A text without any sentence
    is one passage.
    """
    spans = list(_spans(text)) or [(0, len(text))]
    count = min(MAX_PASSAGES, -(-len(spans) // PASSAGE_SENTENCES))
    cuts = [len(spans) * i // count for i in range(count + 1)]
    return [
        Passage(text[spans[first][0] : spans[last - 1][1]], last - first)
        for first, last in pairwise(cuts)
    ]


def sentences(text: str) -> list[str]:
    """The sentences of `text`, in order; together all of it but white space.

    They end at a full stop, question or exclamation mark, at their CJK forms, and at the end of a
    line, unless the next one goes on in lower case. Not at an abbreviation ("e.g.", "Dr."), an
    initial, a decimal point or the number of a list item. A code block is one sentence.
    """
    return [text[start:end] for start, end in _spans(text)]


def windows(text: str, most: int) -> list[str]:
    """`text` in pieces of at most `most` characters, each as long as can be.

    Together they hold all of `text` but white space. They end at sentences; one that is longer by
    itself may be cut after each word, and a longer word where it must be.

    Args:
        text: Any.
        most: Characters, at least 1.
    """
    words = re.compile(rf"\S{{1,{most}}}")
    pieces: list[tuple[int, int]] = []
    for sentence in _spans(text):
        fits = sentence[1] - sentence[0] <= most
        spans = [sentence] if fits else [word.span() for word in words.finditer(text, *sentence)]
        for start, end in spans:
            if pieces and end - pieces[-1][0] <= most:
                pieces[-1] = (pieces[-1][0], end)
            else:
                pieces.append((start, end))
    return [text[start:end] for start, end in pieces]


def _spans(text: str) -> Iterator[tuple[int, int]]:
    start = 0
    for boundary in _BOUNDARY.finditer(text):
        if boundary["block"]:
            yield from _stripped(text, start, boundary.start())
            yield from _stripped(text, *boundary.span())
        elif _goes_on(text, start, boundary):
            continue
        else:
            yield from _stripped(text, start, boundary.end())
        start = boundary.end()
    yield from _stripped(text, start, len(text))


def _stripped(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    piece = text[start:end]
    if piece.strip():
        yield start + len(piece) - len(piece.lstrip()), start + len(piece.rstrip())


def _goes_on(text: str, start: int, boundary: re.Match[str]) -> bool:
    """Whether the sentence that begins at `start` does not end here."""
    following = text[boundary.end() : boundary.end() + 16].lstrip()
    if boundary["line"]:
        return boundary["line"].count("\n") == 1 and following[:1].islower()
    if boundary["mark"] != ".":
        return boundary["mark"] is not None and following[:1].islower()
    before = text[start : boundary.start()]
    if before.strip(" \t*_#>-").isdecimal():
        return True  # the number of a list item
    found = _LAST_WORD.search(before[-_LONGEST_WORD:])
    word = found.group() if found else ""
    if len(word) == 1 and word.isupper():
        return True  # an initial
    name = word.casefold()
    abbreviated = name in _ALWAYS or (name in _BEFORE_A_NUMBER and following[:1].isdigit())
    return abbreviated or following[:1].islower()
