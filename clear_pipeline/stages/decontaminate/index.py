"""The texts of all benchmarks, ready to be looked up by many texts at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from clear_pipeline.stages.decontaminate.ngrams import different_words, ngram_hashes
from clear_pipeline.stages.dedup.shingles import once
from clear_pipeline.stages.dedup.words import I64, U64, Tokens, expand, tokenize

LEAST_ROWS: Final = 3
"""A benchmark file of fewer different rows has no n-grams that are common in it."""
WORDS_PER_DIFFERENT: Final = 3
"""Of an n-gram, at most. Ruled lines of tables, runs of zeros and repetition loops have more words
for each that is different, and say nothing."""
_TEXTS_AT_ONCE: Final = 1 << 12


@dataclass(frozen=True, slots=True, eq=False)
class Postings:
    """Keys and the texts that have them, sorted by key, then text.

    Attributes:
        keys: Hashes.
        texts: Which text has the key beside it.
    """

    keys: U64
    texts: I64

    @classmethod
    def of(cls, keys: U64, texts: I64) -> Postings:
        """In order, each pair once."""
        order = np.lexsort((texts, keys))
        keys, texts = keys[order], texts[order]
        new = np.ones(len(keys), bool)
        new[1:] = (keys[1:] != keys[:-1]) | (texts[1:] != texts[:-1])
        return cls(keys[new], texts[new])

    def find(self, keys: U64) -> tuple[I64, I64]:
        """Where given keys are posted.

        Returns:
            Pairs, as indices into `keys` and positions in the postings.
        """
        if len(self.keys) == 0:
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        lowest = np.searchsorted(self.keys, keys)
        there = np.flatnonzero(self.keys[np.minimum(lowest, len(self.keys) - 1)] == keys)
        lowest = lowest[there]
        counts = np.searchsorted(self.keys, keys[there], side="right") - lowest
        return np.repeat(there, counts), expand(lowest, counts)


@dataclass(frozen=True, slots=True, eq=False)
class Overlaps:
    """Which rows share n-grams with which texts of benchmarks; sorted by row, then text.

    Attributes:
        rows: Rows.
        texts: Texts of benchmarks.
        ngrams: How many different n-grams both have, by their hashes.
        shares: The same as a share of the n-grams of the text, in (0, 1].
    """

    rows: I64
    texts: I64
    ngrams: I64
    shares: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Index:
    """N-grams of texts, and the hash of each text that has none of its own.

    Attributes:
        width: Words of an n-gram.
        ngrams: Of each text, those that are not common.
        totals: How many of them each text has.
        whole: Texts that have none, by the hash of all their words.
        lengths: Words of each text.
    """

    width: int
    ngrams: Postings
    totals: I64
    whole: Postings
    lengths: I64

    def overlaps(self, tokens: Tokens, rows: I64) -> Overlaps:
        """Look up every n-gram of texts that belong to rows.

        Args:
            tokens: Of the texts.
            rows: To which row each text belongs.
        """
        hashes, owners = ngram_hashes(tokens, self.width)
        found, positions = self.ngrams.find(hashes)
        size = len(self.ngrams.keys)
        pairs = once(np.sort(rows[owners[found]] * size + positions))  # once per row and n-gram
        keys = pairs // max(size, 1) * len(self.totals) + self.ngrams.texts[pairs % max(size, 1)]
        keys, counts = np.unique(keys, return_counts=True)
        texts = keys % len(self.totals)
        return Overlaps(keys // len(self.totals), texts, counts, counts / self.totals[texts])

    def copies(self, tokens: Tokens) -> tuple[I64, I64]:
        """Texts that are the same, word for word, as one that is compared as a whole.

        Returns:
            Pairs, as indices of the given texts and texts of benchmarks.
        """
        found, positions = self.whole.find(tokens.whole())
        return found, self.whole.texts[positions]


def build(
    texts: Sequence[str], rows: I64, files: I64, *, width: int, common_rows: int, least_words: int
) -> Index:
    """Index the texts of benchmarks.

    An n-gram that more than `common_rows` different rows of one file have, or more than half of
    them, is a template and no evidence: it is left out, for all files. Rows of equal words are one.
    So is an n-gram of more than `WORDS_PER_DIFFERENT` words for each that is different.

    Args:
        texts: In the order of their rows.
        rows: To which row each text belongs, ascending.
        files: To which file each row belongs, ascending.
        width: Words of an n-gram.
        common_rows: See above. The half counts in files of at least `LEAST_ROWS` different rows.
        least_words: A text of fewer words is compared with nothing.
    """
    starts = range(0, len(texts), _TEXTS_AT_ONCE)
    parts = [_hashed(texts[start : start + _TEXTS_AT_ONCE], start, width) for start in starts]
    whole, lengths, hashes, owners = (np.concatenate(column) for column in zip(*parts, strict=True))
    postings = Postings.of(hashes, owners)
    contents, files_of_contents = _contents(whole, rows, files)
    common = _common(postings, contents[rows], files_of_contents, common_rows)
    own = ~np.isin(postings.keys, common)
    postings = Postings(postings.keys[own], postings.texts[own])
    totals = np.bincount(postings.texts, minlength=len(texts))
    as_whole = np.flatnonzero((totals == 0) & (lengths >= least_words))
    copies = Postings.of(whole[as_whole], as_whole)
    return Index(width, postings, totals, copies, lengths)


def _hashed(texts: Sequence[str], start: int, width: int) -> tuple[U64, I64, U64, I64]:
    """Of a batch: per text its hash and how many words; per n-gram its hash and its text.

    N-grams of too few different words are left out.
    """
    tokens = tokenize(texts)
    hashes, owners = ngram_hashes(tokens, width)
    telling = different_words(tokens, width) * WORDS_PER_DIFFERENT >= width
    return tokens.whole(), tokens.lengths, hashes[telling], owners[telling] + start


def _contents(whole: U64, rows: I64, files: I64) -> tuple[I64, I64]:
    """Per row the content that it is, equal for rows of one file with equal words; their files."""
    bounds = np.searchsorted(rows, np.arange(len(files) + 1))
    seen: dict[tuple[int, bytes], int] = {}
    contents = [
        seen.setdefault((file, whole[start:end].tobytes()), len(seen))
        for file, start, end in zip(files.tolist(), bounds, bounds[1:], strict=False)
    ]
    return np.array(contents, np.int64), np.array([file for file, _ in seen], np.int64)


def _common(postings: Postings, contents: I64, files: I64, common_rows: int) -> U64:
    """N-grams that too many different rows of a file have.

    Args:
        postings: N-grams and their texts.
        contents: Per text, which content its row is.
        files: Per content its file, ascending.
        common_rows: How many rows may have one.
    """
    rows_of_file = np.bincount(files)
    half = np.where(rows_of_file >= LEAST_ROWS, rows_of_file / 2, np.inf)
    limits = np.minimum(half, common_rows)
    by_row = Postings.of(postings.keys, contents[postings.texts])
    file_of = files[by_row.texts]
    first = np.ones(len(file_of), bool)
    first[1:] = (by_row.keys[1:] != by_row.keys[:-1]) | (file_of[1:] != file_of[:-1])
    starts = np.flatnonzero(first)
    counts = np.diff(np.append(starts, len(file_of)))
    return np.unique(by_row.keys[starts][counts > limits[file_of[starts]]])
