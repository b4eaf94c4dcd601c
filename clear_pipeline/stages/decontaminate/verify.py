"""A suspected overlap looked at word by word, so that no collision of hashes removes a row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from clear_pipeline.stages.decontaminate.index import Index
from clear_pipeline.stages.decontaminate.ngrams import ngram_hashes
from clear_pipeline.stages.dedup.shingles import once
from clear_pipeline.stages.dedup.words import spelled, tokenize

_SHOWN_WORDS: Final = 12
_SHOWN_CHARS: Final = 100


@dataclass(frozen=True, slots=True)
class Verified:
    """What a row really shares with a text of a benchmark.

    Attributes:
        share: Of the n-grams of the text, in [0, 1].
        ngrams: How many different ones; None where the texts were compared as a whole.
        reason: Both figures, and the first words that are shared.
    """

    share: float
    ngrams: int | None
    reason: str


@dataclass(frozen=True, slots=True)
class Passage:
    """A text of a benchmark as words.

    Attributes:
        words: All of them.
        own: Different n-grams that are not common, each with the place where it begins first;
            none for a text that is compared as a whole.
    """

    words: list[str]
    own: dict[tuple[str, ...], int]

    @classmethod
    def of(cls, text: str, index: Index) -> Passage:
        """Read a text that is in the index."""
        told = spelled(text)
        hashes, _ = ngram_hashes(tokenize([text]), index.width)
        own: dict[tuple[str, ...], int] = {}
        for place in once(np.sort(index.ngrams.find(hashes)[0])).tolist():
            own.setdefault(tuple(told[place : place + index.width]), place)
        return cls(told, own)

    def compare(self, texts: Sequence[str], width: int) -> Verified:
        """Compare with the texts of a row; an n-gram lies within one of them."""
        rows = [spelled(text) for text in texts]
        if not self.own:
            return self._as_a_whole(rows)
        theirs = {tuple(row[at : at + width]) for row in rows for at in range(len(row) - width + 1)}
        shared = [place for ngram, place in self.own.items() if ngram in theirs]
        reason = f"{len(shared):,} of {len(self.own):,} {width}-grams"
        if shared:
            reason += f", first {self._quoted(min(shared))}"
        return Verified(len(shared) / len(self.own), len(shared), reason)

    def _as_a_whole(self, rows: Sequence[list[str]]) -> Verified:
        same = self.words in rows
        return Verified(float(same), None, f"word for word {self._quoted(0)}" if same else "")

    def _quoted(self, start: int) -> str:
        told = " ".join(self.words[start : start + _SHOWN_WORDS])[:_SHOWN_CHARS]
        more = len(self.words) > start + _SHOWN_WORDS or len(told) == _SHOWN_CHARS
        return f'"{told} …"' if more else f'"{told}"'
