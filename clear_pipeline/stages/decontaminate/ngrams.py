"""N-grams of words: the 64-bit hashes of many texts at once."""

from __future__ import annotations

from typing import Final

import numpy as np

from clear_pipeline.stages.dedup.words import I64, U64, Tokens, expand

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
    starts, owners = _windows(tokens, width)
    down = _powers(pow(_BASE, -1, 1 << 64), len(words))
    return (sums[starts + width] - sums[starts]) * down[starts], owners


def different_words(tokens: Tokens, width: int) -> I64:
    """How many different words each n-gram has, in the order of `ngram_hashes`."""
    order = np.argsort(tokens.hashes, kind="stable")
    again = tokens.hashes[order[1:]] == tokens.hashes[order[:-1]]
    before = np.full(len(order), -1)  # where a word stood last
    before[order[1:][again]] = order[:-1][again]
    starts, _ = _windows(tokens, width)
    counts = np.zeros(len(starts), np.int64)
    for place in range(width):
        counts += before[starts + place] < starts
    return counts


def _windows(tokens: Tokens, width: int) -> tuple[I64, I64]:
    """Where each n-gram begins in `Tokens.hashes`, and the index of its text."""
    counts = np.maximum(tokens.lengths - width + 1, 0)
    owners = np.repeat(np.arange(len(counts)), counts)
    return expand(tokens.offsets[:-1], counts), owners


def _powers(base: int, count: int) -> U64:
    """base^0 .. base^(count - 1) modulo 2^64."""
    powers = np.full(count, base, np.uint64)
    powers[:1] = 1
    return np.cumprod(powers)
