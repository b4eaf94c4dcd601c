"""Texts as sets of word shingles, hashed to 64 bits and computed for many texts at once.

Among a million different shingles two share a 64-bit hash with probability 3e-8, so equal hashes
are taken for equal shingles, and Jaccard similarities over them for exact.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from scipy.sparse import csr_array

U64: TypeAlias = NDArray[np.uint64]
I64: TypeAlias = NDArray[np.int64]

_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"  # Thai, Lao, Burmese, Khmer
    "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # kana, Han
)
_WORD = rf"[^\W{_UNSPACED}]+"
_TOKEN = re.compile(
    rf"{_WORD}(?:[.,'\u2019]{_WORD})*"  # a word or a number: don't, 3.14, 1,000
    rf"|[{_UNSPACED}]"  # scripts without spaces: every character is a word
    r"|[.!?\u2026]+(?=[\s\"'\u201d\u2019)\]]|$)|[\n\u3002\uff01\uff1f]"  # end of a sentence
    rf"|!=|!{_WORD}"  # negation in code
    r"|[^\w\s.,;:!?\u2026\"'\u201c\u201d\u2018\u2019\u3001\uff0c\uff1a\uff1b]"  # + - < $ matter
)
_SENTENCE_ENDS = frozenset(".!?\u2026\n\u3002\uff01\uff1f")
_END = 0


class _TokenHashes(dict[str, int]):
    """Token -> 64-bit hash, `_END` for the end of a sentence; each computed once."""

    def __missing__(self, token: str) -> int:
        value = _END if _SENTENCE_ENDS.issuperset(token) else _hash_text(token)
        self[token] = value
        return value


@lru_cache(maxsize=1 << 16)
def _hash_text(text: str) -> int:
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little") or 1


def _mix(values: U64) -> U64:
    """A bijection of 64 bits in which every input bit reaches every output bit (SplitMix64)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


@dataclass(frozen=True, slots=True, eq=False)
class Tokens:
    """The words of many texts, one text after the other. Every text has at least one.

    Attributes:
        hashes: One per word; case and sentence punctuation are gone.
        starts: Per word, whether it is the first of a sentence.
        offsets: Text i has the words `offsets[i]:offsets[i + 1]`.
    """

    hashes: U64
    starts: NDArray[np.bool_]
    offsets: I64

    @property
    def lengths(self) -> I64:
        """Words per text, >= 1."""
        return np.diff(self.offsets)

    def take(self, texts: I64) -> Tokens:
        """The given texts, in the given order."""
        lengths = self.lengths[texts]
        words = expand(self.offsets[texts], lengths)
        return Tokens(self.hashes[words], self.starts[words], _bounds(lengths))

    def whole(self) -> U64:
        """One hash per text, equal for texts of equal words in equal order."""
        place = np.arange(len(self.hashes)) - np.repeat(self.offsets[:-1], self.lengths)
        mixed = _mix(self.hashes + _mix(place.astype(np.uint64)))
        return _mix(np.add.reduceat(mixed, self.offsets[:-1])) if len(mixed) else mixed

    def sentences(self) -> Sentences:
        """Where the sentences are, and which are equal; a line end also ends a sentence."""
        firsts = np.flatnonzero(self.starts)
        bounds = np.append(firsts, len(self.hashes))
        words = Tokens(self.hashes, self.starts, bounds).whole()
        owners = np.searchsorted(self.offsets, firsts, side="right") - 1
        order = np.lexsort((firsts, words, owners))
        new = (np.diff(words[order], prepend=0) != 0) | (np.diff(owners[order], prepend=-1) != 0)
        places = np.arange(len(order))
        repeats = np.empty(len(order), np.uint64)
        repeats[order] = places - np.maximum.accumulate(np.where(new, places, 0))
        return Sentences(
            keys=words + _mix(repeats),
            starts=firsts,
            lengths=np.diff(bounds),
            offsets=np.searchsorted(owners, np.arange(len(self.offsets))),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Sentences:
    """The sentences of many texts, one text after the other.

    Attributes:
        keys: Unique within a text; the n-th of equal sentences has the same key in every text.
        starts: Index of the first word in `Tokens.hashes`.
        lengths: Words.
        offsets: Text i has the sentences `offsets[i]:offsets[i + 1]`.
    """

    keys: U64
    starts: I64
    lengths: I64
    offsets: I64


def expand(starts: I64, lengths: I64) -> I64:
    """The indices of all spans `start .. start + length - 1`, one span after the other."""
    bounds = _bounds(lengths)
    indices: I64 = np.repeat(starts - bounds[:-1], lengths) + np.arange(bounds[-1])
    return indices


def paired_keys(keys: U64, pairs: I64) -> U64:
    """Keys that are equal only for an equal key in the same pair."""
    return _mix(keys + _mix(pairs.astype(np.uint64) + np.uint64(1)))


def _bounds(lengths: I64) -> I64:
    return np.concatenate([[0], np.cumsum(lengths)])


def tokenize(texts: Iterable[str]) -> Tokens:
    """Cut texts into words. A text without any is one word: itself, without outer white space."""
    table = _TokenHashes()
    flat = array("Q")
    offsets = array("q", [0])
    for text in texts:
        folded = unicodedata.normalize("NFC", text.casefold())
        flat.extend(map(table.__getitem__, _TOKEN.findall(folded)))
        if not any(flat[offsets[-1] :]):
            flat.append(_hash_text(text.strip()))
        offsets.append(len(flat))
    values = np.frombuffer(flat, np.uint64) if flat else np.zeros(0, np.uint64)
    bounds = np.frombuffer(offsets, np.int64)
    is_word = values != _END
    starts = np.ones(len(values), bool)
    starts[1:] = ~is_word[:-1]
    starts[bounds[:-1]] = True
    return Tokens(values[is_word], _carry(starts, is_word), _bounds(is_word)[bounds])


def _carry(starts: NDArray[np.bool_], is_word: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Sentence starts of the words alone: a start on an end mark goes to the next word."""
    sentence = np.cumsum(starts)[is_word]
    return np.diff(sentence, prepend=0) > 0


def concatenate(parts: Sequence[Tokens]) -> Tokens:
    """The texts of all parts, in order."""
    return Tokens(
        np.concatenate([p.hashes for p in parts]),
        np.concatenate([p.starts for p in parts]),
        _bounds(np.concatenate([p.lengths for p in parts])),
    )


@dataclass(frozen=True, slots=True, eq=False)
class ShingleSets:
    """One set of shingles per text.

    Attributes:
        members: Texts x shingles, stored entries are members, column indices sorted.
        hashes: One per shingle (column).
    """

    members: csr_array
    hashes: U64

    @property
    def sizes(self) -> I64:
        """Members per set."""
        sizes: I64 = np.diff(self.members.indptr).astype(np.int64)
        return sizes

    def take(self, texts: I64) -> ShingleSets:
        """The sets of the given texts, in the given order."""
        return ShingleSets(self.members[texts], self.hashes)

    def jaccard(self, first: I64, second: I64) -> NDArray[np.float64]:
        """Similarity of the sets `first[k]` and `second[k]`, in [0, 1]; 1 for two empty sets."""
        shared = np.diff(self.members[first].multiply(self.members[second]).tocsr().indptr)
        either = self.sizes[first] + self.sizes[second] - shared
        similarity = np.ones(len(either))
        np.divide(shared, either, out=similarity, where=either > 0)
        return similarity


def unique(values: I64) -> I64:
    """Sorted, each once. On many values `np.unique` hashes, which is several times slower."""
    ordered = np.sort(values)
    first: I64 = ordered[np.diff(ordered, prepend=ordered[:1] - 1) != 0]
    return first


def _sets(owners: I64, hashes: U64, texts: int) -> ShingleSets:
    from scipy.sparse import csr_array

    vocabulary, columns = np.unique(hashes, return_inverse=True)
    size = max(len(vocabulary), 1)
    entries = unique(owners * size + columns)
    indptr = np.searchsorted(entries, np.arange(texts + 1) * size)
    members = csr_array((np.ones(len(entries), np.int32), entries % size, indptr), (texts, size))
    return ShingleSets(members, vocabulary)


def shingle_sets(tokens: Tokens, width: int) -> ShingleSets:
    """All runs of `width` words of each text; a shorter text is one shingle.

    So a short text has no near-duplicate but itself: there, one other word is another question.
    """
    ends = np.repeat(tokens.offsets[1:], tokens.lengths)
    starts = np.arange(len(tokens.hashes))
    first = np.repeat(tokens.offsets[:-1], tokens.lengths)
    keep = (starts + width <= ends) | (starts == first)
    starts, ends = starts[keep], ends[keep]
    hashes = np.zeros(len(starts), np.uint64)
    for step in range(width):
        inside = starts + step < ends
        word = tokens.hashes[np.minimum(starts + step, ends - 1)]
        hashes = np.where(inside, _mix(hashes + word), hashes)
    owners = np.repeat(np.arange(len(tokens.lengths)), tokens.lengths)[keep]
    return _sets(owners, hashes, len(tokens.lengths))


def drop_common(sets: ShingleSets, common: NDArray[np.bool_], whole: U64) -> ShingleSets:
    """Leave common shingles out. A set that would be empty becomes the hash of its whole text.

    So a text of common shingles alone has similarity 1 to the same words, else 0.

    Args:
        sets: Shingles per text.
        common: Per shingle, whether to drop it.
        whole: `Tokens.whole` of the texts.
    """
    columns = sets.members.indices
    owners = np.repeat(np.arange(len(whole)), sets.sizes)
    kept = ~common[columns]
    empty = np.flatnonzero(np.bincount(owners[kept], minlength=len(whole)) == 0)
    # Another mix keeps whole texts apart from shingles, also from their own.
    return _sets(
        np.concatenate([owners[kept], empty]),
        np.concatenate([sets.hashes[columns[kept]], _mix(~whole[empty])]),
        len(whole),
    )
