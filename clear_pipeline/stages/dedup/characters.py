"""What the characters of a text are: letters, marks that belong to words, ends of sentences."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Unit: TypeAlias = Literal["word", "character"]

_UNSPACED: Final = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"  # Thai, Lao, Burmese, Khmer
    "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # kana, Han
)
_IGNORED: Final = (
    ".,;:!?\u2026\"'\u201c\u201d\u2018\u2019\u3001\u3002\uff0c\uff1a\uff1b\uff01\uff1f"
)
"""Punctuation that is no word. All other symbols are: + - < $ matter."""
_JOINERS: Final = ".,'\u2019"
"""Between letters or digits they belong to the word: don't, 3.14, 1,000."""
_END_BEFORE_SPACE: Final = ".!?\u2026"
_END: Final = "\n\u3002\uff01\uff1f"
_CLOSING: Final = "\"'\u201d\u2019)]"

LETTER, ALONE, JOINER, SPACE, STOP, ALWAYS, CLOSES, _UNKNOWN = (
    np.uint8(1 << bit) for bit in range(8)
)
LOW: Final = 256
"""Characters below fit into a byte."""


def kinds_of(points: NDArray[np.uint32], unit: Unit) -> NDArray[np.uint8]:
    """What each character is."""
    table = _table(unit)
    low = bytearray(points.astype(np.uint8)).translate(table[:LOW].tobytes())
    kinds = np.frombuffer(low, np.uint8)
    places = np.flatnonzero(points >= LOW)
    high = points[places]
    if len(new := np.unique(high[table[high] == _UNKNOWN])):
        table[new] = _kinds("".join(map(chr, new.tolist())), unit)
    kinds[places] = table[high]
    return kinds


@lru_cache(maxsize=2)
def _table(unit: Unit) -> NDArray[np.uint8]:
    """What each of the 0x110000 code points is, as far as texts have had it."""
    table = np.full(0x110000, _UNKNOWN)
    table[:LOW] = _kinds("".join(map(chr, range(LOW))), unit)
    return table


def _kinds(characters: str, unit: Unit) -> NDArray[np.uint8]:
    """What each of these is."""
    kinds = np.zeros(len(characters), np.uint8)

    def mark(pattern: str, kind: np.uint8) -> None:
        for run in re.finditer(pattern, characters):
            kinds[run.start() : run.end()] |= kind

    unspaced = f"[{_UNSPACED}]"
    if unit == "word":
        mark(rf"[^\W{_UNSPACED}]+", LETTER)
        mark(f"{unspaced}+", ALONE)
    else:
        mark(rf"(?:\w|{unspaced})+", ALONE)
    mark(rf"[^\w\s{re.escape(_IGNORED)}{_UNSPACED}]+", ALONE)
    mark(r"\s+", SPACE)
    mark(f"[{re.escape(_JOINERS)}]", JOINER)
    mark(f"[{re.escape(_END_BEFORE_SPACE)}]", STOP)
    mark(f"[{_END}]", STOP | ALWAYS)
    mark(f"[{re.escape(_CLOSING)}]", CLOSES)
    return kinds
