"""The rows around a row: whose response could be mistaken for its own, which names occur."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from clear_pipeline.corruptions.json_text import is_json
from clear_pipeline.schema import Example, Role, content_hash
from clear_pipeline.scoring.answers import is_value
from clear_pipeline.scoring.similarity import canonical_text, token_f1, words

SAME: Final = 0.7
"""Two responses whose words overlap more than this (F1) may both be right."""

_WORD: Final = re.compile(r"[^\W\d_]+")
_CAPITALISED: Final = r"[A-Z][\w'-]+(?: [A-Z][\w'-]+){0,3}"
_NAME: Final = re.compile(
    rf"(?<=[a-z,;] )(?P<inside>{_CAPITALISED})"  # in the middle of a sentence
    rf'|(?<=")(?P<value>{_CAPITALISED})(?="(?!\s*:))'  # all of a value of JSON, and no key; a quote
    rf"|\A(?P<whole>{_CAPITALISED})(?=\.?\s*\Z)"  # all of a response
)


class Sample:
    """Rows of one dataset, in an order that depends on their content alone.

    Args:
        rows: Any rows; rows that teach the same count once.
    """

    def __init__(self, rows: Sequence[Example]) -> None:
        by_content = {content_hash(r.messages, r.target, r.tools): r for r in rows}
        self._keys = sorted(by_content)
        self._place = {key: place for place, key in enumerate(self._keys)}
        self.rows: tuple[Example, ...] = tuple(by_content[key] for key in self._keys)

    def most_similar(self, example: Example) -> Example | None:
        """Of the rows that `can_stand_for` it, the one whose prompt shares most words (TF-IDF).

        None if no such prompt shares a word with it, or if the row is not of the sample.
        """
        place = self._place.get(content_hash(example.messages, example.target, example.tools))
        if place is None:
            return None
        similarity = self._similarities[place]
        for other in map(int, np.argsort(-similarity, kind="stable")):
            if similarity[other] <= 0.0:
                return None
            if other != place and can_stand_for(self.rows[other], example):
                return self.rows[other]
        return None

    @cached_property
    def _similarities(self) -> NDArray[np.float64]:
        """Cosine similarity of all pairs of prompts."""
        from sklearn.feature_extraction.text import TfidfVectorizer

        vectors = TfidfVectorizer(analyzer=_terms).fit_transform([asked(row) for row in self.rows])
        return np.asarray((vectors @ vectors.T).toarray(), np.float64)

    def names_in(self, text: str) -> list[str]:
        """Capitalised names of a text, each once, in order; a rule without a model.

        A name is a run of capitalised words in the middle of a sentence, or all of a response or
        of a JSON string, of which no word stands anywhere in the sample in small letters. What
        stands alone in several rows is a label, such as "Positive", and no name.
        """
        found = self._found(text)
        kept = (name for name, alone in found if not alone or name in self._alone)
        return list(dict.fromkeys(kept))

    def names_for(self, name: str, text: str) -> list[str]:
        """The names of all responses that may take the place of one in `text`, sorted.

        Those that only ever stand alone can stand in no sentence.
        """
        in_a_sentence = (name, False) in self._found(text)
        return sorted(self._inside if in_a_sentence else self._inside | self._alone)

    @cached_property
    def _inside(self) -> frozenset[str]:
        found = (pair for row in self.rows for pair in self._found(row.response))
        return frozenset(name for name, alone in found if not alone)

    @cached_property
    def _alone(self) -> frozenset[str]:
        """What stands alone in one row; nothing if most of what stands alone comes again.

        A closed set of labels may have one that is rare.
        """
        found = (set(self._found(row.response)) for row in self.rows)
        counts = Counter(name for pairs in found for name, alone in pairs if alone)
        once = frozenset(name for name, rows in counts.items() if rows == 1)
        return once if 2 * len(once) > counts.total() else frozenset()

    def _found(self, text: str) -> list[tuple[str, bool]]:
        """Each name with whether it stands alone there, and is not part of a sentence."""
        structured = is_json(text)
        found = (
            (
                match.group(),
                match.lastgroup == "whole" or (structured and match["value"] is not None),
            )
            for match in _NAME.finditer(text)
        )
        return [(name, alone) for name, alone in found if self._is_name(name)]

    def _is_name(self, name: str) -> bool:
        parts = _WORD.findall(name)
        small = any(part.lower() in self._small_words for part in parts)
        return bool(parts) and not small and not is_value(name)

    @cached_property
    def _small_words(self) -> frozenset[str]:
        texts = [text for row in self.rows for text in (asked(row), row.response)]
        return frozenset(w for text in texts for w in _WORD.findall(text) if w.islower())


def asked(example: Example) -> str:
    """What was asked: all turns before the response but the system's."""
    system = {Role.SYSTEM, Role.DEVELOPER}
    return "\n".join(turn.text for turn in example.messages if turn.role not in system)


def _terms(text: str) -> list[str]:
    return words(text) or [text]


def can_stand_for(row: Example, example: Example) -> bool:
    """Whether a row's response, in the place of another's, would look right and be wrong.

    It is plain text, of the same form (JSON or prose), answers another request, and does not say
    nearly the same, or all of it and more.
    """
    return (
        row.unscorable is None
        and not row.target.tool_calls
        and is_json(row.response) == is_json(example.response)
        and canonical_text(asked(row)) != canonical_text(asked(example))
        and token_f1(row.response, example.response) <= SAME
        and not _contained(row.response, example.response)
    )


def _contained(first: str, second: str) -> bool:
    """Whether all words of one text stand in the other, as in "Paris" and "It is Paris"."""
    one, other = set(words(first)), set(words(second))
    return one <= other or other <= one
