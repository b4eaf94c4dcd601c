"""Comparing two texts by their words, without a model."""

from __future__ import annotations

import re
from collections import Counter
from decimal import Decimal

from clear_pipeline.schema import normalise

_ARTICLES = frozenset({"a", "an", "the"})
_WORD = re.compile(
    r"(?:(?<![\w)])[-\u2212])?\d[\d,]*(?:\.\d+)?"  # a number, with sign, thousands and decimals
    r"|[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]"  # scripts without spaces: one character each
    r"|[^\W\d_]+(?:\+\+|#)?"  # C is not C++
    r"|[$€£¥%<>=+/^\u2264\u2265\u00b1\u00f7\u00d7]"  # $5 is not €5, a + b is not a / b
    r"|(?<=[\w)])\*{1,2}(?=[\w(])|(?<=\s)[-*](?=\s)"
)
_NUMBER = re.compile(r"-?(?:0|[1-9]\d*|[1-9]\d{0,2}(?:,\d{3})+)(?:\.\d+)?")


def words(text: str) -> list[str]:
    """The words and signs of `text`: no case, punctuation or articles; numbers by value."""
    found = map(_by_value, _WORD.findall(normalise(text).casefold()))
    return [word for word in found if word not in _ARTICLES]


def canonical_text(text: str) -> str:
    """A form that is equal for texts of the same words; without any, the text itself."""
    return " ".join(words(text)) or normalise(text).casefold()


def token_f1(first: str, second: str) -> float:
    """Overlap of the words of two texts, 0 (none) to 1 (the same words); symmetric.

    Harmonic mean of precision and recall over bags of words, as SQuAD scores answers. Texts
    without any word are compared as they are.
    """
    left, right = Counter(words(first)), Counter(words(second))
    if not left and not right:
        return float(normalise(first) == normalise(second))
    return overlap(left, right)


def overlap(left: Counter[str], right: Counter[str]) -> float:
    """Harmonic mean of precision and recall of two bags, in [0, 1]; 1 for two empty ones."""
    total = left.total() + right.total()
    return 2 * (left & right).total() / total if total else 1.0


def _by_value(word: str) -> str:
    """A number as its shortest form; "007" is a name and stays."""
    word = word.replace("\u2212", "-")
    if not _NUMBER.fullmatch(word):
        return word
    value = Decimal(word.replace(",", "")).normalize()
    return format(value, "f") if value else "0"
