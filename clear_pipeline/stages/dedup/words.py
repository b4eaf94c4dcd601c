"""Texts as words, hashed to 63 bits; many texts at once, without a Python object per word.

Texts become one array of code points. What a character is stands in a table, words are runs in that
array, and the hash of a word is a sum over its characters, so that numpy does all of it.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from clear_pipeline.stages.dedup.characters import (
    ALONE,
    ALWAYS,
    CLOSES,
    JOINER,
    LETTER,
    LOW,
    SPACE,
    STOP,
    Unit,
    kinds_of,
)

U64: TypeAlias = NDArray[np.uint64]
I64: TypeAlias = NDArray[np.int64]
Bools: TypeAlias = NDArray[np.bool_]
VERSION: Final = 2
"""Of how texts are cut and hashed, for what is kept."""

_HASH_BITS: Final = np.uint64((1 << 63) - 1)

_BLOCK: Final = 1 << 17
"""Characters that are cut together: small arrays stay in the processor's cache, and their memory
in the process, which fetches that of large ones anew each time."""
_TOGETHER: Final = 8
_UP_TO: Final = np.array([(1 << 8 * n) - 1 for n in range(_TOGETHER + 1)], "<u8")
"""The first so many characters of eight."""


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
    none = Tokens(np.zeros(0, np.uint64), np.zeros(0, bool), np.zeros(1, np.int64))
    return Tokens(
        np.concatenate([none.hashes, *(p.hashes for p in parts)]),
        np.concatenate([none.starts, *(p.starts for p in parts)]),
        bounds(np.concatenate([none.lengths, *(p.lengths for p in parts)])),
    )


def in_blocks(sizes: I64, *, together: int, most: int | None = None) -> Iterator[slice]:
    """Cut items that stand in a row, so that each block has at most the size `together`.

    Args:
        sizes: Of the items; one alone may have more.
        together: Of a block.
        most: Items of a block; any number by default.
    """
    ends = np.cumsum(sizes)
    start = 0
    while start < len(sizes):
        before = ends[start - 1] if start else 0
        stop = int(np.searchsorted(ends, before + together, side="right"))
        stop = min(max(stop, start + 1), start + (most or len(sizes)))
        yield slice(start, stop)
        start = stop


def tokenize(texts: Sequence[str], *, unit: Unit = "word") -> Tokens:
    """Cut texts into words. A text without any is one word: itself, without outer white space.

    Args:
        texts: Any.
        unit: `character`: each letter or digit is a word of its own. In scripts that are written
            without spaces it is one in any case.
    """
    folded = [_folded(text) for text in texts]
    lengths = np.fromiter(map(len, folded), np.int64, len(folded))
    parts = [
        _tokenized(folded[part], lengths[part], unit)
        for part in in_blocks(lengths, together=_BLOCK)
    ]
    return concatenate(parts)


def _tokenized(folded: Sequence[str], lengths: I64, unit: Unit) -> Tokens:
    """Of a block."""
    joined = "\n".join([*folded, ""])
    points = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), np.uint32)
    kinds = kinds_of(points, unit)
    begin, length = _cut(points, kinds)
    offsets = np.searchsorted(begin, bounds(lengths + 1))
    starts = np.zeros(len(begin) + 1, bool)
    starts[np.searchsorted(begin, _sentence_ends(kinds))] = True
    full = np.flatnonzero(np.diff(offsets))
    starts[offsets[full]] = True
    tokens = Tokens(_hashes(points, begin, length), starts[:-1], offsets)
    return tokens if len(full) == len(folded) else _with_wordless(tokens, folded)


def spelled(text: str) -> list[str]:
    """The words that `tokenize` hashes, as text: one for each of its hashes, in order."""
    folded = _folded(text)
    points = np.frombuffer(f"{folded}\n".encode("utf-32-le", "surrogatepass"), np.uint32)
    begin, length = _cut(points, kinds_of(points, "word"))
    words = zip(begin.tolist(), length.tolist(), strict=True)
    return [folded[at : at + length] for at, length in words] or [folded.strip()]


def _folded(text: str) -> str:
    """Without case, and in composed characters."""
    return text.lower() if text.isascii() else unicodedata.normalize("NFC", text.casefold())


def _cut(points: NDArray[np.uint32], kinds: NDArray[np.uint8]) -> tuple[I64, I64]:
    """Where the words begin, and how many characters each has.

    `!` belongs to the letters or the `=` after it: negation in code. A point belongs to the digits
    after it: .5 is not 5.
    """
    letter = (kinds & LETTER) != 0
    alone = (kinds & ALONE) != 0
    # Between letters, it belongs to the word.
    inside = (kinds & JOINER) != 0
    inside[1:] &= letter[:-1]
    inside[:-1] &= letter[1:]
    inside[:1] = inside[-1:] = False
    bang = np.flatnonzero(points[:-1] == ord("!"))
    equals = bang[points[bang + 1] == ord("=")]
    alone[equals + 1] = False  # the second character of "!="
    leading = np.concatenate([bang[letter[bang + 1]], equals, _decimal_points(points, letter)])
    joined = letter | inside
    joined[leading] = True
    first = letter
    first[1:] &= ~joined[:-1]
    first |= alone
    first[leading] = True
    members = joined
    members |= alone
    members[equals + 1] = True
    last = members.copy()
    last[:-1] &= first[1:] | ~members[1:]
    begin = np.flatnonzero(first)
    return begin, np.flatnonzero(last) - begin + 1


def _decimal_points(points: NDArray[np.uint32], letter: Bools) -> I64:
    """Where a number begins with its point; not after another one, as in a row of dots."""
    at = np.flatnonzero(points[:-1] == ord("."))
    digit = (points[at + 1] >= ord("0")) & (points[at + 1] <= ord("9")) & letter[at + 1]
    after = letter[at - 1] | (points[at - 1] == ord("."))
    found: I64 = at[digit & ((at == 0) | ~after)]
    return found


def _hashes(points: NDArray[np.uint32], begin: I64, length: I64) -> U64:
    """Of each word: a sum over its characters, each times a number that its place has.

    Most words are short and of characters below 256: their characters are taken eight at a time.
    """
    short = length <= 2 * _TOGETHER
    after = np.searchsorted(begin, np.flatnonzero(points >= LOW), side="right")
    short[after[after > 0] - 1] = False
    words = np.flatnonzero(short)
    sums = np.empty(len(begin), np.uint64)
    sums[words] = _sums_of_short(points, begin[words], length[words])
    if len(words) < len(begin):
        others = np.flatnonzero(~short)
        sums[others] = _sums(points, begin[others], length[others])
    return mix(sums) & _HASH_BITS


def _factors(places: int) -> U64:
    """A number for each place in a word."""
    return mix(np.arange(1, places + 1, dtype=np.uint64)) | np.uint64(1)


def _sums(points: NDArray[np.uint32], begin: I64, length: I64) -> U64:
    """Of any words, of which there is one at least."""
    factors = _factors(int(length.max()))
    inside = expand(np.zeros(len(length), np.int64), length)
    values = (points[expand(begin, length)] + np.uint64(1)) * factors[inside]
    return np.add.reduceat(values, bounds(length)[:-1])


def _sums_of_short(points: NDArray[np.uint32], begin: I64, length: I64) -> U64:
    """As `_sums`, of words of at most 16 characters below `LOW`, or of no words."""
    factors = _factors(2 * _TOGETHER)
    sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(factors)])[length]  # 1 is added to all
    low = np.append(points.astype(np.uint8), np.zeros(2 * _TOGETHER, np.uint8))
    eights = np.ndarray(len(low) - _TOGETHER, "<u8", low, strides=(1,))  # from every place on
    for place in range(0, 2 * _TOGETHER, _TOGETHER):
        words = np.flatnonzero(length > place) if place else slice(None)
        eight = eights[begin[words] + place]
        eight &= _UP_TO[np.minimum(length[words] - place, _TOGETHER)]
        characters = eight.view(np.uint8).reshape(-1, _TOGETHER)
        sums[words] += np.einsum("ij,j->i", characters, factors[place : place + _TOGETHER])
    return sums


def _sentence_ends(kinds: NDArray[np.uint8]) -> I64:
    """Where a line ends, or a full stop is before white space or what closes.

    `tokenize` ends each text with a line end.
    """
    stops = np.flatnonzero((kinds & STOP) != 0)
    after = kinds[np.minimum(stops + 1, len(kinds) - 1)]
    ends: I64 = stops[(kinds[stops] & ALWAYS | after & (SPACE | CLOSES)) != 0]
    return ends


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
    word = _hashes(points, np.zeros(1, np.int64), np.array([len(points)]))
    return Tokens(word, np.ones(1, bool), np.array([0, 1]))
