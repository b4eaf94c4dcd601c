"""JSON that no parser reads. Applies only where the response is JSON."""

from __future__ import annotations

import re
from random import Random
from typing import Final

from clear_pipeline.corruptions.base import Corruption
from clear_pipeline.corruptions.json_text import is_json
from clear_pipeline.corruptions.sample import Sample
from clear_pipeline.schema import Example

_STRUCTURE: Final = re.compile(r'[][{}:,"]')
_TRIES: Final = 20


def _change(example: Example, _sample: Sample, rng: Random) -> str | None:
    """One bracket, quote, colon or comma less."""
    text = example.response
    if not is_json(text):
        return None
    places = [match.start() for match in _STRUCTURE.finditer(text)]
    for place in rng.sample(places, min(_TRIES, len(places))):
        broken = text[:place] + text[place + 1 :]
        if not _still_json(broken):
            return broken
    return None


def _still_json(text: str) -> bool:
    """Whether what is left is JSON: an object or list, or the number or string that was in it."""
    return is_json(text) or is_json(f"[{text}]")


MALFORMED_JSON = Corruption(
    name="malformed_json",
    plural="malformed JSON",
    explanation="one bracket, quote, colon or comma of a JSON response is missing",
    change=_change,
    ability="notice broken JSON",
    keeps_json=False,
)
