"""Texts as words, hashed to 63 bits; many texts at once, without a Python object per word.

Texts become one array of code points. What a character is stands in a table, words are runs in that
array, and the hash of a word is a sum over its characters, so that numpy does all of it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

U64: TypeAlias = NDArray[np.uint64]
I64: TypeAlias = NDArray[np.int64]
Bools: TypeAlias = NDArray[np.bool_]
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

VERSION: Final = 1
"""Of how texts are cut and hashed, for what is kept."""

_LETTER, _ALONE, _JOINER, _SPACE, _STOP, _ALWAYS, _CLOSES = (np.uint8(1 << bit) for bit in range(7))
_HASH_BITS: Final = np.uint64((1 << 63) - 1)


def mix(values: U64) -> U64:
    """A bijection of 64 bits in which every input bit reaches every output bit (SplitMix64)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def bounds(lengths: I64) -> I64:
    """Where spans of these lengths begin that lie one after the other, and where the last ends."""
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)])


def expand(starts: I64, lengths: I64) -> I64:
    """The indices of all spans `start .. start + length - 1`, one span after the other."""
    ends = bounds(lengths)
    indices: I64 = np.repeat(starts - ends[:-1], lengths) + np.arange(ends[-1])
    return indices


@dataclass(frozen=True, slots=True, eq=False)
class Tokens:
    """The words of many texts, one text after the other. Every text has at least one.

    Attributes:
        hashes: One per word, below 2^63; case and sentence punctuation are gone.
        starts: Per word, whether it is the first of a sentence.
        offsets: Text i has the words `offsets[i]:offsets[i + 1]`.
    """

    hashes: U64
    starts: Bools
    offsets: I64

    @property
    def lengths(self) -> I64:
        """Words per text, >= 1."""
        return np.diff(self.offsets)

    def take(self, texts: I64) -> Tokens:
        """The given texts, in the given order."""
        lengths = self.lengths[texts]
        words = expand(self.offsets[texts], lengths)
        return Tokens(self.hashes[words], self.starts[words], bounds(lengths))

    def whole(self) -> U64:
        """One hash per text, equal for texts of equal words in equal order."""
        place = np.arange(len(self.hashes)) - np.repeat(self.offsets[:-1], self.lengths)
        mixed = mix(self.hashes + mix(place.astype(np.uint64)))
        return mix(np.add.reduceat(mixed, self.offsets[:-1])) if len(mixed) else mixed


def concatenate(parts: Sequence[Tokens]) -> Tokens:
    """The texts of all parts, in order."""
    return Tokens(
        np.concatenate([p.hashes for p in parts]),
        np.concatenate([p.starts for p in parts]),
        bounds(np.concatenate([p.lengths for p in parts])),
    )


def tokenize(texts: Sequence[str], *, unit: Unit = "word") -> Tokens:
    """Cut texts into words. A text without any is one word: itself, without outer white space.

    Args:
        texts: Any.
        unit: `character`: each letter or digit is a word of its own. In scripts that are written
            without spaces it is one in any case.
    """
    folded = [_folded(text) for text in texts]
    lengths = np.fromiter(map(len, folded), np.int64, len(folded))
    joined = "\n".join([*folded, ""])
    points = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), np.uint32)
    begins = bounds(lengths + 1)
    kinds = _kinds(unit)[points]
    first, members = _cut(points, kinds)
    hashes = _hashes(points, first, members)
    firsts = np.flatnonzero(first)
    offsets = np.searchsorted(firsts, begins)
    ends = np.cumsum(_sentence_ends(kinds), dtype=np.int32)[firsts]
    starts = np.diff(ends, prepend=-1) > 0
    full = np.flatnonzero(np.diff(offsets))
    starts[offsets[full]] = True
    tokens = Tokens(hashes, starts, offsets)
    return tokens if len(full) == len(texts) else _with_wordless(tokens, folded)


def spelled(text: str) -> list[str]:
    """The words that `tokenize` hashes, as text: one for each of its hashes, in order."""
    folded = _folded(text)
    points = np.frombuffer(f"{folded}\n".encode("utf-32-le", "surrogatepass"), np.uint32)
    first, members = _cut(points, _kinds("word")[points])
    places = np.flatnonzero(members)
    begin = np.flatnonzero(first[places])
    lengths = np.diff(begin, append=len(places)).tolist()
    words = zip(places[begin].tolist(), lengths, strict=True)
    return [folded[at : at + length] for at, length in words] or [folded.strip()]


def _folded(text: str) -> str:
    """Without case, and in composed characters."""
    return text.lower() if text.isascii() else unicodedata.normalize("NFC", text.casefold())


def _cut(points: NDArray[np.uint32], kinds: NDArray[np.uint8]) -> tuple[Bools, Bools]:
    """Which characters begin a word, and which characters belong to words.

    `!` belongs to the letters or the `=` after it: negation in code.
    """
    letter = (kinds & _LETTER) != 0
    alone = (kinds & _ALONE) != 0
    after = np.append(letter[1:], False)
    before = np.append(False, letter[:-1])
    inside = ((kinds & _JOINER) != 0) & before & after
    bang = np.flatnonzero(points == ord("!"))
    equals = np.append(points[1:], 0)[bang] == ord("=")
    negates = np.zeros(len(points), bool)
    negates[bang] = after[bang] | equals
    alone[bang[equals] + 1] = False  # the second character of "!="
    members = letter | alone | inside | negates
    members[bang[equals] + 1] = True
    goes_on = np.append(False, (letter | inside | negates)[:-1])
    return (letter & ~goes_on) | alone | negates, members


def _hashes(points: NDArray[np.uint32], first: Bools, members: Bools) -> U64:
    """Of each word: a sum over its characters, each times a number that its place has."""
    places = np.flatnonzero(members)
    begin = np.flatnonzero(first[places])
    if len(begin) == 0:
        return np.zeros(0, np.uint64)
    inside = np.arange(len(places)) - np.repeat(begin, np.diff(begin, append=len(places)))
    factors = mix(np.arange(1, int(inside.max()) + 2, dtype=np.uint64)) | np.uint64(1)
    values = (points[places] + np.uint64(1)) * factors[inside]
    return mix(np.add.reduceat(values, begin)) & _HASH_BITS


def _sentence_ends(kinds: NDArray[np.uint8]) -> Bools:
    """A line end, or a full stop before white space or what closes; `tokenize` ends each text."""
    closed = np.append((kinds[1:] & (_SPACE | _CLOSES)) != 0, True)
    stops = (kinds & _STOP) != 0
    ends: Bools = stops & (closed | ((kinds & _ALWAYS) != 0))
    return ends


@lru_cache(maxsize=2)
def _kinds(unit: Unit) -> NDArray[np.uint8]:
    """What each of the 0x110000 code points is."""
    every = "".join(map(chr, range(0x110000)))
    kinds = np.zeros(len(every), np.uint8)

    def mark(pattern: str, kind: np.uint8) -> None:
        for run in re.finditer(pattern, every):
            kinds[run.start() : run.end()] |= kind

    unspaced = f"[{_UNSPACED}]"
    if unit == "word":
        mark(rf"[^\W{_UNSPACED}]+", _LETTER)
        mark(f"{unspaced}+", _ALONE)
    else:
        mark(rf"(?:\w|{unspaced})+", _ALONE)
    mark(rf"[^\w\s{re.escape(_IGNORED)}{_UNSPACED}]+", _ALONE)
    mark(r"\s+", _SPACE)
    mark(f"[{re.escape(_JOINERS)}]", _JOINER)
    mark(f"[{re.escape(_END_BEFORE_SPACE)}]", _STOP)
    mark(f"[{_END}]", _STOP | _ALWAYS)
    mark(f"[{re.escape(_CLOSING)}]", _CLOSES)
    return kinds


def _with_wordless(tokens: Tokens, folded: Sequence[str]) -> Tokens:
    """Give each text without a word its one word, which no other text has but its equal."""
    parts, last = [], 0
    for text in np.flatnonzero(tokens.lengths == 0).tolist():
        if last < text:
            parts.append(tokens.take(np.arange(last, text)))
        parts.append(_as_one_word(folded[text].strip()))
        last = text + 1
    if last < len(folded):
        parts.append(tokens.take(np.arange(last, len(folded))))
    return concatenate(parts)


def _as_one_word(text: str) -> Tokens:
    points = np.frombuffer(f"\0{text}".encode("utf-32-le", "surrogatepass"), np.uint32)
    every = np.ones(len(points), bool)
    word = _hashes(points, np.arange(len(points)) == 0, every)
    return Tokens(word, np.ones(1, bool), np.array([0, 1]))
