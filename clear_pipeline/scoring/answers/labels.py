"""Answers that pick one of a few: "(B)", "Option B: Paris", "Yes, it does"."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from clear_pipeline.scoring.answers.plain import plain
from clear_pipeline.scoring.similarity import canonical_text

_LETTER = re.compile(
    r"(?:(?:the )?(?:correct |right |best )?(?:option|choice|answer)(?: is)?:? )?"
    r"(?:\((?P<fenced>[A-Za-z])\)|\[(?P<square>[A-Za-z])\]|(?P<marked>[A-Z])(?=[).:\]])"
    r"|(?P<bare>[A-Za-z])$)"
    r"[).:\]]*\s*(?P<rest>.*)",
    re.IGNORECASE,
)
_YES_NO = re.compile(r"(?P<word>yes|no|true|false)(?:$|[,.:;!-]\s+(?P<rest>\D.*))", re.IGNORECASE)
_SAME_WORD: Final = {"true": "yes", "false": "no"}


class Label(NamedTuple):
    """What was picked, and the words that stand with it."""

    name: str
    rest: str


def same_label(first: str, second: str) -> bool | None:
    """Whether two texts pick the same letter, or both say yes or no; None if one does neither.

    Words beside the pick may be missing on one side ("B" is "(B) Paris"); where both have some,
    they must be the same ("(B) Paris" is not "(B) Rome"). True is yes, and false is no.
    """
    for read in (_letter, _yes_no):
        left, right = read(first), read(second)
        if left is not None and right is not None:
            return left.name == right.name and (
                not left.rest
                or not right.rest
                or canonical_text(left.rest) == canonical_text(right.rest)
            )
    return None


def _letter(text: str) -> Label | None:
    found = _LETTER.fullmatch(plain(text))
    if found is None:
        return None
    letter = found["fenced"] or found["square"] or found["marked"] or found["bare"]
    if found["marked"] and found["rest"] and not letter.isupper():
        return None
    return Label(letter.upper(), found["rest"])


def _yes_no(text: str) -> Label | None:
    found = _YES_NO.fullmatch(plain(text))
    if found is None:
        return None
    word = found["word"].casefold()
    return Label(_SAME_WORD.get(word, word), found["rest"] or "")
