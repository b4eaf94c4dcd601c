"""A response that falls into a loop, as small models and bad sampling settings do."""

from __future__ import annotations

from random import Random
from typing import Final

from clear_pipeline.corruptions.base import Corruption
from clear_pipeline.corruptions.json_text import change_content
from clear_pipeline.corruptions.sample import Sample
from clear_pipeline.schema import Example

_ROUNDS: Final = 8


def _change(example: Example, _sample: Sample, rng: Random) -> str | None:
    def loop(text: str) -> str | None:
        words = text.split()
        if not words:
            return None
        until = max(1, int(len(words) * rng.uniform(0.3, 0.7)))
        phrase = words[max(0, until - rng.randint(3, 8)) : until]
        return " ".join([*words[:until], *phrase * _ROUNDS])

    return change_content(example.response, loop)


REPETITION_LOOP = Corruption(
    name="repetition_loop",
    plural="repetition loops",
    explanation="the response repeats its last few words eight times instead of going on",
    change=_change,
    ability="notice that a response repeats itself",
)
