"""A response that stops in the middle, as if the token limit had cut it. JSON is cut like prose."""

from __future__ import annotations

from random import Random
from typing import Final

from clear_pipeline.corruptions.base import Corruption
from clear_pipeline.corruptions.sample import Sample
from clear_pipeline.schema import Example

_MIN_CHARS: Final = 20
"""A shorter response cannot be cut so that a reader would notice."""
_ENDS: Final = " \t\r\n.!?;:,\u2026\u3000\u3001\u3002\uff01\uff0c\uff0e\uff1a\uff1b\uff1f\uff61"
"""A cut that ends like a sentence would be none; the Chinese and Japanese signs with the others."""


def _change(example: Example, _sample: Sample, rng: Random) -> str | None:
    text = example.response.rstrip()
    if len(text) < _MIN_CHARS:
        return None
    kept = text[: int(len(text) * rng.uniform(0.3, 0.7))]
    to_a_space = kept.rfind(" ")
    if to_a_space > len(kept) // 2:
        kept = kept[:to_a_space]
    return kept.rstrip(_ENDS)


CUT_OFF = Corruption(
    name="cut_off",
    plural="responses that are cut off",
    explanation="the response stops after 30 to 70 % of its length",
    change=_change,
    ability="tell whether a response is complete",
    keeps_json=False,
)
