"""Comparing two texts by their words, without a model."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from typing import Final

from clear_pipeline.schema import normalise

_ARTICLES: Final = frozenset({"a", "an", "the"})
_MARKS: Final = "".join(
    char
    for char in map(chr, range(0x300, 0xFE00))  # what follows only chooses a glyph
    if unicodedata.category(char) in ("Mn", "Mc")
)
"""Marks that go on with a word: the vowels of Hindi and Thai among them."""
_SIGNS: Final = "".join(
    re.escape(char) for char in map(chr, range(0x10000)) if unicodedata.category(char) == "Sm"
)
"""Signs of mathematics and logic: a + b is not a / b, and "p and q" is not "p or q"."""
_WORD: Final = re.compile(
    # A number, with sign, thousands and decimals; the factorial of one.
    r"(?:(?<![\w)])[-\u2212])?(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?!?"
    r"|[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]"  # scripts without spaces: one character each
    # C is not C++, p is not !p, f is not f'.
    rf"|(?:(?<!\w)!)?[^\W\d_]+(?:[{_MARKS}]+[^\W\d_]*)*(?:\+\+|#|\u2032|'(?=\())?"
    rf"|[$\u20ac\u00a3\u00a5%/^&{_SIGNS}]|(?<!\w)!\(|!="
    r"|(?<=(?<!\w)[^\W\d_])-(?=\d)"  # x-1 is not x1
    r"|(?<=[\w)])\*{1,2}(?=[\w(])|(?<=\s)[-*](?=\s)"
)
_NUMBER: Final = re.compile(r"-?(?:0|[1-9]\d*|[1-9]\d{0,2}(?:,\d{3})+)(?:\.\d+)?")
_LETTER_A: Final = re.compile(r"(?<=\w )A(?=\W*$)")
"""The letter at the end of a name, as in "vitamin A"."""


def words(text: str) -> list[str]:
    """The words and signs of `text`: no case, punctuation or articles; numbers by value."""
    line = normalise(text)
    found = [_by_value(word) for word in _WORD.findall(line.casefold())]
    kept = [word for word in found if word not in _ARTICLES]
    return [*kept, "A"] if _LETTER_A.search(line) else kept


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
    word = word.replace("\u2212", "-").replace("'", "\u2032")
    if not _NUMBER.fullmatch(word):
        return word
    whole, _, decimals = word.replace(",", "").partition(".")
    decimals = decimals.rstrip("0")  # as text: a float or a Decimal would round a long number
    value = f"{whole}.{decimals}" if decimals else whole
    return "0" if value == "-0" else value
