"""Texts that stand twice in a long list, found in eight bytes a text and none of them held."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


class Repeats:
    """Finds the texts that were seen before, by their 64-bit hashes.

    That two of ten million different texts count as one has a probability of 3 in a million.
    """

    def __init__(self) -> None:
        self._hashes: list[NDArray[np.int64]] = []

    def add(self, texts: pa.ChunkedArray | pa.Array) -> None:
        """The next texts, none of them null."""
        self._hashes.append(np.fromiter(map(hash, texts.to_pylist()), np.int64, len(texts)))

    def found(self) -> NDArray[np.int64]:
        """Which texts were seen before: their numbers among all, from 0, in order."""
        hashes = np.concatenate([np.empty(0, np.int64), *self._hashes])
        ordered = np.sort(hashes)
        twice = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
        texts = np.flatnonzero(np.isin(hashes, twice))
        order = texts[np.argsort(hashes[texts], kind="stable")]
        same = hashes[order[1:]] == hashes[order[:-1]]
        return np.sort(order[1:][same])

    def place(self, number: int) -> tuple[int, int]:
        """Of a text's number: which call of `add` it came with, and its number in that."""
        ends = np.cumsum([len(hashes) for hashes in self._hashes])
        call = int(np.searchsorted(ends, number, side="right"))
        return call, int(number - ends[call] + len(self._hashes[call]))
