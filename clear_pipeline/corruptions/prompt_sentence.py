"""A sentence copied from the prompt: fluent, on topic, and no answer."""

from __future__ import annotations

import re
from random import Random
from typing import Final

from clear_pipeline.corruptions.base import Corruption
from clear_pipeline.corruptions.json_text import change_content
from clear_pipeline.corruptions.sample import Sample, asked
from clear_pipeline.schema import Example
from clear_pipeline.scoring.similarity import words

_END: Final = re.compile(r"(?<=[.!?])\s+|\n+|(?<=[\u3002\uff01\uff1f])")
_MIN_CHARS: Final = 12
"""Shorter pieces of a prompt are labels such as "Answer:", not sentences."""


def _change(example: Example, _sample: Sample, rng: Random) -> str | None:
    pieces = [piece.strip() for piece in _END.split(asked(example))]
    sentences = [piece for piece in pieces if len(piece) >= _MIN_CHARS]

    def copied(said: str) -> str | None:
        wrong = [sentence for sentence in sentences if not _answers(sentence, said)]
        return rng.choice(wrong) if wrong else None

    return change_content(example.response, copied)


def _answers(sentence: str, answer: str) -> bool:
    """Whether the sentence says all that the answer says, as in extractive question answering."""
    return set(words(answer)) <= set(words(sentence))


PROMPT_SENTENCE = Corruption(
    name="prompt_sentence",
    plural="sentences copied from the prompt",
    explanation="a sentence of the prompt in place of the response",
    change=_change,
    ability="tell an answer from a piece of the question",
)
