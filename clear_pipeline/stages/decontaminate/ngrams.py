"""N-grams of words: the 64-bit hashes of many texts at once, and the words of one as text."""

from __future__ import annotations

import unicodedata
from typing import Final

import numpy as np

from clear_pipeline.stages.dedup.shingles import _SENTENCE_ENDS, _TOKEN, I64, U64, Tokens

_BASE: Final = 0x9E3779B97F4A7C15 | 3
"""Of the polynomial that an n-gram's hash is. It is 3 modulo 4, so that exchanging two neighbours
costs one bit of 64."""


def ngram_hashes(tokens: Tokens, width: int) -> tuple[U64, I64]:
    """Every n-gram of every text, in order; none crosses from one text into the next.

    An n-gram's hash is sum(word * BASE^place) modulo 2^64 over its words, places counted from its
    start. All windows come from one running sum, so that the work does not grow with `width`.

    Returns:
        The hashes, and the index of the text of each. A text of fewer words has none.
    """
    words = tokens.hashes
    powers = _powers(_BASE, len(words))
    sums = np.zeros(len(words) + 1, np.uint64)
    np.cumsum(words * powers, out=sums[1:])
    counts = np.maximum(tokens.lengths - width + 1, 0)
    owners = np.repeat(np.arange(len(counts)), counts)
    first = np.cumsum(counts) - counts
    starts = np.arange(len(owners)) - first[owners] + tokens.offsets[:-1][owners]
    down = _powers(pow(_BASE, -1, 1 << 64), len(words))
    return (sums[starts + width] - sums[starts]) * down[starts], owners


def _powers(base: int, count: int) -> U64:
    """base^0 .. base^(count - 1) modulo 2^64."""
    powers = np.full(count, base, np.uint64)
    powers[:1] = 1
    return np.cumprod(powers)


def words(text: str) -> list[str]:
    """The words that `tokenize` hashes, as text: one for each of its hashes, in order."""
    folded = unicodedata.normalize("NFC", text.casefold())
    found = [token for token in _TOKEN.findall(folded) if not _SENTENCE_ENDS.issuperset(token)]
    return found or [text.strip()]
