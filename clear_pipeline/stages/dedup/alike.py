"""Whether two rows are near-duplicates: exact similarities of both sides, and the same request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from clear_pipeline.stages.dedup.shingles import (
    Shingles,
    jaccard,
    members,
    set_sizes,
    shingle,
    without,
)
from clear_pipeline.stages.dedup.words import (
    I64,
    U64,
    Bools,
    Tokens,
    bounds,
    concatenate,
    expand,
    mix,
)

F64 = NDArray[np.float64]


TELLING: Final = 40
"""A response of so many shingles, common ones left out, is no yes, number or label: where another
is nearly the same, word for word, both were asked the same. They are those of 44 words."""


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """One side of some rows, the prompts or the responses.

    Attributes:
        tokens: Of the rows.
        common: Shingles that are no evidence on this side, sorted.
    """

    tokens: Tokens
    common: U64

    def distinctive(self, width: int) -> Shingles:
        """The shingles of each text without the common ones."""
        shingles = shingle(self.tokens, width)
        return without(shingles, self.common, self.tokens.whole(), width=width)


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """Pairs that may be near-duplicates, at most `shingles.BLOCK // 2`, with all that decides it.

    Attributes:
        sides: Those that are compared, of the rows that stand in some pair.
        prompts: Of the same rows, to see whether both ask the same; None if that is not asked.
        responses: Which of the sides are the responses; None if they are not compared.
        first: Per pair a place in them.
        second: Another.
    """

    sides: tuple[Side, ...]
    prompts: Tokens | None
    responses: int | None
    first: I64
    second: I64


def similarities(candidates: Candidates, *, threshold: float, width: int) -> F64:
    """Per pair the smallest similarity of its sides; 0 for pairs that are no near-duplicates."""
    first, second = candidates.first, candidates.second
    found, telling = np.ones(len(first)), np.zeros(len(first), bool)
    for place, side in enumerate(candidates.sides):
        texts = len(side.tokens.lengths)
        sets = members(side.distinctive(width))
        found = np.minimum(found, jaccard(sets, texts, first, second))
        if place == candidates.responses:
            long = set_sizes(sets, texts) >= TELLING
            telling = long[first] & long[second]
    found[found < threshold] = 0.0
    alike = np.flatnonzero((found > 0) & ~telling)
    if candidates.prompts is not None and len(alike):
        same = same_request(
            candidates.prompts, first[alike], second[alike], threshold=threshold, width=width
        )
        found[alike[~same]] = 0.0
    return found


def same_request(
    prompts: Tokens, first: I64, second: I64, *, threshold: float, width: int
) -> Bools:
    """Whether two similar prompts also ask the same.

    A long context makes prompts similar whatever is asked about it. So sentences that stand in
    both prompts are set aside, and what remains must be a near-duplicate by itself. What remains
    is padded at both ends, so that its first and last words count as much as the others.
    """
    sentences = Sentences.of(prompts)
    one, one_shares = _unshared(prompts, sentences, first, second, pad=width - 1)
    other, _ = _unshared(prompts, sentences, second, first, pad=width - 1)
    pairs = np.arange(len(first))
    sets = members(shingle(concatenate([one, other]), width))
    similar: Bools = jaccard(sets, 2 * len(pairs), pairs, pairs + len(pairs)) >= threshold
    return similar | ~one_shares


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

    @classmethod
    def of(cls, tokens: Tokens) -> Sentences:
        """Where the sentences are, and which are equal; a line end also ends a sentence."""
        firsts = np.flatnonzero(tokens.starts)
        ends = np.append(firsts, len(tokens.hashes))
        words = Tokens(tokens.hashes, tokens.starts, ends).whole()
        owners = np.searchsorted(tokens.offsets, firsts, side="right") - 1
        order = np.lexsort((firsts, words, owners))
        new = (np.diff(words[order], prepend=0) != 0) | (np.diff(owners[order], prepend=-1) != 0)
        places = np.arange(len(order))
        repeats = np.empty(len(order), np.uint64)
        repeats[order] = places - np.maximum.accumulate(np.where(new, places, 0))
        return cls(
            keys=words + mix(repeats),
            starts=firsts,
            lengths=np.diff(ends),
            offsets=np.searchsorted(owners, np.arange(len(tokens.offsets))),
        )


def _unshared(
    prompts: Tokens, sentences: Sentences, texts: I64, others: I64, *, pad: int
) -> tuple[Tokens, Bools]:
    """The words of the sentences that the other text lacks, padded; whether any was shared."""
    counts = np.diff(sentences.offsets)
    mine = expand(sentences.offsets[texts], counts[texts])
    theirs = expand(sentences.offsets[others], counts[others])
    pair = np.repeat(np.arange(len(texts)), counts[texts])
    their_pair = np.repeat(np.arange(len(texts)), counts[others])
    shared = np.isin(
        _paired(sentences.keys[mine], pair), _paired(sentences.keys[theirs], their_pair)
    )
    shares = np.bincount(pair[shared], minlength=len(texts)) > 0
    mine, pair = mine[~shared], pair[~shared]
    words = np.bincount(pair, sentences.lengths[mine], minlength=len(texts)).astype(np.int64)
    offsets = bounds(words + 2 * pad)
    hashes = np.zeros(offsets[-1], np.uint64)
    hashes[expand(offsets[:-1] + pad, words)] = prompts.hashes[
        expand(sentences.starts[mine], sentences.lengths[mine])
    ]
    return Tokens(hashes, np.zeros(len(hashes), bool), offsets), shares


def _paired(keys: U64, pairs: I64) -> U64:
    """Keys that are equal only for an equal key in the same pair."""
    return mix(keys + mix(pairs.astype(np.uint64) + np.uint64(1)))
