"""Arrays that grow in files, so that memory holds what is worked on and not what there is."""

from __future__ import annotations

import mmap
import threading
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from clear_pipeline.durable import writing
from clear_pipeline.stages.dedup.words import I64, U64, Tokens, bounds, expand

T = TypeVar("T", bound=np.generic)

_TOGETHER = 1 << 16
"""Bytes of one column that are written together: a file is opened seldom, for a shard has little
for it."""
_TAKEN = 1 << 12
"""Numbers that are taken from a map before it lets go of its pages."""
_START = np.uint64(1 << 63)
"""In a spilled word: it is the first of a sentence."""


class Spilled(Generic[T]):
    """One column of numbers in a file.

    Several threads may read it at once, while none appends.

    Args:
        path: A new file.
        dtype: Of the numbers.
    """

    def __init__(self, path: Path, dtype: type[T]) -> None:
        path.unlink(missing_ok=True)
        self._path = path
        self._dtype = np.dtype(dtype)
        self._length = 0
        self._waiting: list[NDArray[T]] = []
        self._bytes = 0
        self._flushing = threading.Lock()

    def __len__(self) -> int:
        return self._length

    def __getstate__(self) -> dict[str, object]:
        """A copy in another process reads the file."""
        self.flush()
        return {name: v for name, v in self.__dict__.items() if name != "_flushing"}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state, _flushing=threading.Lock())

    def append(self, values: NDArray[T]) -> None:
        """Add numbers at the end.

        Raises:
            UnwritableError: The disk is full.
        """
        self._waiting.append(np.array(values, self._dtype))
        self._bytes += self._waiting[-1].nbytes
        self._length += len(values)
        if self._bytes >= _TOGETHER:
            self.flush()

    def flush(self) -> None:
        """Bring the file up to date, for others that read it.

        Raises:
            UnwritableError: The disk is full.
        """
        with self._flushing:
            if self._waiting:
                with writing(self._path), self._path.open("ab") as file:
                    file.writelines(values.data for values in self._waiting)
                self._waiting.clear()
                self._bytes = 0

    def read(self, start: int = 0, stop: int | None = None) -> NDArray[T]:
        """The numbers `start:stop`, all by default, in memory."""
        self.flush()
        count = (self._length if stop is None else stop) - start
        if count == 0:
            return np.zeros(0, self._dtype)
        found: NDArray[T] = np.fromfile(
            self._path, self._dtype, count, offset=start * self._dtype.itemsize
        )
        return found

    def take(self, indices: I64) -> NDArray[T]:
        """The numbers at these places."""
        if len(indices) == 0:
            return np.zeros(0, self._dtype)
        self.flush()
        found = np.empty(len(indices), self._dtype)
        with (
            self._path.open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
        ):
            numbers: NDArray[T] = np.frombuffer(mapped, self._dtype)
            for start in range(0, len(indices), _TAKEN):
                part = slice(start, start + _TAKEN)
                found[part] = numbers[indices[part]]
                # Pages that a map has touched and their neighbours count as its memory.
                if hasattr(mmap, "MADV_DONTNEED"):
                    mapped.madvise(mmap.MADV_DONTNEED)
            del numbers  # the map cannot be closed before it
        return found

    def drop(self) -> None:
        """Give the disk space back; nothing may follow."""
        self._waiting.clear()
        self._path.unlink(missing_ok=True)


def packed(tokens: Tokens) -> U64:
    """Words as one number each: the hash, and above it whether the word begins a sentence."""
    return tokens.hashes | np.where(tokens.starts, _START, np.uint64(0))


def unpacked(words: U64, offsets: I64) -> Tokens:
    """The opposite of `packed`."""
    return Tokens(words & ~_START, words >= _START, offsets)


class SpilledTokens:
    """The words of all texts of one side, in a file; where each text begins stays in memory.

    Args:
        path: A new file.
    """

    def __init__(self, path: Path) -> None:
        self._words: Spilled[np.uint64] = Spilled(path, np.uint64)
        self._lengths: list[NDArray[np.uint32]] = []
        self._offsets: I64 = np.zeros(1, np.int64)

    def append(self, tokens: Tokens) -> None:
        """Add texts at the end."""
        self._words.append(packed(tokens))
        self._lengths.append(tokens.lengths.astype(np.uint32))

    def close(self) -> None:
        """No text follows; `take` may begin."""
        lengths = [np.zeros(0, np.uint32), *self._lengths]
        self._offsets = bounds(np.concatenate(lengths).astype(np.int64))
        self._lengths.clear()

    def lengths(self, texts: I64) -> I64:
        """Words of these texts."""
        return self._offsets[texts + 1] - self._offsets[texts]

    def take(self, texts: I64) -> Tokens:
        """These texts, in this order."""
        if len(texts) == 0:
            return Tokens(np.zeros(0, np.uint64), np.zeros(0, bool), np.zeros(1, np.int64))
        lengths = self.lengths(texts)
        first, last = int(self._offsets[texts.min()]), int(self._offsets[texts.max() + 1])
        places = expand(self._offsets[texts], lengths)
        if last - first <= _DENSE * len(places):
            words = self._words.read(first, last)[places - first]
        else:
            words = self._words.take(places)
        return unpacked(words, bounds(lengths))

    def drop(self) -> None:
        """Give the disk space back."""
        self._words.drop()


_DENSE = 3
"""Texts that make up at least this part of the span they lie in are read with it in one go."""
