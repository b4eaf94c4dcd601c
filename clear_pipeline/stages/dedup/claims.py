"""What a vector does not see: numbers and negations, by which otherwise equal texts differ.

"Is 7 prime?" and "Is 8 prime?" have nearly one vector, of any model, and so have "Do" and "Do not".
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

_SMALL: Final = (
    "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty",
)  # fmt: skip
_TENS: Final = ("thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_LARGE: Final = {"hundred": 100, "thousand": 1_000, "million": 1_000_000, "billion": 10**9}
_WORDS: Final = {
    **{word: str(value) for value, word in enumerate(_SMALL, start=2)},
    **{word: str(10 * value) for value, word in enumerate(_TENS, start=3)},
    **{word: str(value) for word, value in _LARGE.items()},
}
"""Of English; without "one", which is a pronoun more often than a number."""

_NEGATIONS: Final = frozenset([
    "no", "not", "cannot", "never", "none", "nobody", "nothing", "nowhere", "neither", "nor",
    "without", "false",
])  # fmt: skip
"""Of English, beside words in "n't"."""

_CLAIM = re.compile(
    r"(?P<number>\d+(?:[.,]\d+)*)"
    r"|(?P<sign>[-\u2212](?=\s?[\d(])|[+*/=<>^%\u00d7\u00f7\u2260\u2264\u2265$\u20ac\u00a3])"
    r"|(?P<negated>\w+n['\u2019]t\b)"
    r"|(?P<word>[a-z]+)"
)
_THOUSANDS = re.compile(r",(?=\d{3}(?!\d))")


def claims(text: str) -> tuple[tuple[str, ...], int]:
    """The numbers and arithmetic signs of a text, sorted, and how many negations it has."""
    numbers, negations = [], 0
    for found in _CLAIM.finditer(text.casefold()):
        token = found.group()
        if found["number"]:
            numbers.append(_THOUSANDS.sub("", token))
        elif found["sign"]:
            numbers.append(token)
        elif found["negated"] or token in _NEGATIONS:
            negations += 1
        elif token in _WORDS:
            numbers.append(_WORDS[token])
    return tuple(sorted(numbers)), negations


def claim_keys(rows: Iterable[Sequence[str]]) -> NDArray[np.int64]:
    """Per row a number, equal for rows whose texts have equal `claims`, text by text."""
    digests = (
        hashlib.blake2b(repr([claims(text) for text in texts]).encode(), digest_size=8).digest()
        for texts in rows
    )
    return np.frombuffer(b"".join(digests), np.int64)
