"""Near-duplicates: from the words of all texts to verified pairs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Literal

import numpy as np

from clear_pipeline.stages.base import Shards
from clear_pipeline.stages.dedup.alike import Candidates, Side, similarities
from clear_pipeline.stages.dedup.candidates import (
    band_keys,
    banding,
    neighbours,
    shared_buckets,
    signatures,
)
from clear_pipeline.stages.dedup.clusters import Pairs
from clear_pipeline.stages.dedup.common import common_shingles, merged
from clear_pipeline.stages.dedup.corpus import Corpus
from clear_pipeline.stages.dedup.shingles import once
from clear_pipeline.stages.dedup.spill import Spilled, SpilledTokens
from clear_pipeline.stages.dedup.words import I64, U64, Tokens, in_blocks

Compare = Literal["prompt", "response", "both"]

_TEXTS: Final = 1 << 10
"""Texts, or pairs, of a block; less than half of `shingles.BLOCK`."""
_WORDS: Final = 1 << 17
"""Words of a block, unless one text or pair alone has more."""


@dataclass(frozen=True, slots=True)
class Likeness:
    """When two texts are near-duplicates; see the settings of `Dedup`."""

    compare: Compare
    threshold: float
    ngram: int
    permutations: int
    common_fraction: float


@dataclass(frozen=True, slots=True, eq=False)
class Texts:
    """Rows of different texts, each the first row of its own.

    Attributes:
        corpus: All rows.
        rows: The row of each text, ascending.
        text_of: Per row of the corpus its text.
    """

    corpus: Corpus
    rows: I64
    text_of: I64

    @classmethod
    def of(cls, corpus: Corpus, compare: Compare) -> Texts:
        """Rows of equal words count as one text, in what is compared."""
        sides = {
            "prompt": (corpus.prompt_words,),
            "response": (corpus.response_words,),
            "both": (corpus.prompt_words, corpus.response_words),
        }
        rows, text_of = grouped(*(read() for read in sides[compare]))
        return cls(corpus, rows, text_of)

    def sides(self, compare: Compare) -> list[SpilledTokens]:
        """The words of what is compared."""
        sides = {"prompt": self.corpus.prompts, "response": self.corpus.responses}
        return list(sides.values()) if compare == "both" else [sides[compare]]


def grouped(*keys: U64) -> tuple[I64, I64]:
    """Groups of rows with equal keys, numbered in the order of their first rows.

    Returns:
        The first row of each group, ascending, and the group of each row.
    """
    order = np.lexsort(keys)
    new = np.zeros(len(order), bool)
    new[:1] = True
    for key in keys:
        ordered = key[order]
        new[1:] |= ordered[1:] != ordered[:-1]
    first = np.minimum.reduceat(order, np.flatnonzero(new)) if len(order) else order
    by_first = np.argsort(first)
    number = np.empty(len(first), np.int64)
    number[by_first] = np.arange(len(first))
    group_of = np.empty(len(order), np.int64)
    group_of[order] = number[np.cumsum(new) - 1]
    return first[by_first], group_of


def near_pairs(texts: Texts, shards: Shards, likeness: Likeness) -> Pairs:
    """All pairs of texts that banding finds, verified; numbered as `texts.rows`."""
    common = [_common(texts, side, likeness) for side in texts.sides(likeness.compare)]
    codes = _candidates(texts, shards, likeness, common)
    first, second = np.divmod(codes, max(1, len(texts.rows)))
    found = [np.zeros(0)]
    work = partial(similarities, threshold=likeness.threshold, width=likeness.ngram)
    pairs = _pairs(texts, first, second, likeness, common)
    found += shards.spread(work, pairs, step="comparing pairs")
    similarity = np.concatenate(found)
    alike = similarity > 0
    return Pairs(first[alike], second[alike], similarity[alike])


def _common(texts: Texts, side: SpilledTokens, likeness: Likeness) -> U64:
    """The shingles that many texts of some file share."""

    def blocks(rows: I64) -> Iterator[Tokens]:
        return (side.take(rows[part]) for part in _cut(side.lengths(rows)))

    found = []
    for rows in texts.corpus.rows_by_file():
        _, first = np.unique(texts.text_of[rows], return_index=True)
        distinct = rows[np.sort(first)]
        found.append(
            common_shingles(
                partial(blocks, distinct),
                len(distinct),
                width=likeness.ngram,
                fraction=likeness.common_fraction,
            )
        )
    return merged(found)


def _candidates(texts: Texts, shards: Shards, likeness: Likeness, common: Sequence[U64]) -> I64:
    """Pairs that share a bucket, as first * texts + second, ascending."""
    count = len(texts.rows)
    bands, rows = banding(likeness.threshold, likeness.permutations)
    columns = [Spilled(shards.scratch / f"band-{band}", np.uint64) for band in range(bands)]
    sign = partial(_keys, likeness=likeness, bands=bands, rows=rows)
    for keys in shards.spread(sign, _signed(texts, likeness, common), step="hashing"):
        for column, key in zip(columns, keys, strict=True):
            column.append(key)
    found = np.zeros(0, np.int64)
    shared = shards.spread(shared_buckets, (c.read() for c in columns), step="grouping")
    for band, (members, buckets) in enumerate(shared):
        ties = (_order(texts, members), columns[(band + 1) % bands].take(members))
        first, second = neighbours(members, buckets, ties)
        found = once(np.sort(np.concatenate([found, first * count + second])))
    for column in columns:
        column.drop()
    return found


def _keys(sides: Sequence[Side], *, likeness: Likeness, bands: int, rows: int) -> U64:
    """Keys of all bands of some texts.

    Prompt and response at the threshold each implies the threshold for the two sets taken
    together, so one signature of their union finds the pair, and finds few others.
    """
    signed = [signatures(side.distinctive(likeness.ngram), likeness.permutations) for side in sides]
    together = signed[0] if len(signed) == 1 else np.minimum(*signed)
    return band_keys(together, bands=bands, rows=rows)


def _signed(texts: Texts, likeness: Likeness, common: Sequence[U64]) -> Iterator[list[Side]]:
    """Blocks of all texts, for `_keys`."""
    sides = texts.sides(likeness.compare)
    for part in _cut(_words(sides, texts.rows)):
        rows = texts.rows[part]
        yield [Side(side.take(rows), c) for side, c in zip(sides, common, strict=True)]


def _order(texts: Texts, members: I64) -> U64:
    """One number per text that depends on its words alone."""
    rows = texts.rows[members]
    corpus = texts.corpus
    return corpus.prompt_words(rows) ^ (corpus.response_words(rows) >> np.uint64(1))


def _pairs(
    texts: Texts, first: I64, second: I64, likeness: Likeness, common: Sequence[U64]
) -> Iterator[Candidates]:
    """Blocks of all pairs, for `similarities`."""
    sides = texts.sides(likeness.compare)
    words = _words(sides, texts.rows)
    for part in _cut(words[first] + words[second]):
        used, places = np.unique(np.stack([first[part], second[part]]), return_inverse=True)
        one, other = places.reshape(2, -1)
        rows = texts.rows[used]
        taken = [side.take(rows) for side in sides]
        yield Candidates(
            sides=tuple(Side(t, c) for t, c in zip(taken, common, strict=True)),
            prompts=None if likeness.compare == "response" else taken[0],
            responses=1 if likeness.compare == "both" else None,
            first=one,
            second=other,
        )


def _words(sides: Sequence[SpilledTokens], rows: I64) -> I64:
    """Words of each row, on all sides."""
    words: I64 = np.add.reduce([side.lengths(rows) for side in sides])
    return words


def _cut(words: I64) -> Iterator[slice]:
    """Blocks of texts or pairs that have so many words."""
    return in_blocks(words, together=_WORDS, most=_TEXTS)
