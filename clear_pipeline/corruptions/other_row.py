"""The response of another row, at random: what swapped columns and shifted lines look like."""

from __future__ import annotations

from random import Random

from clear_pipeline.corruptions.base import Corruption
from clear_pipeline.corruptions.json_text import is_json
from clear_pipeline.corruptions.sample import Sample
from clear_pipeline.schema import Example


def _change(example: Example, sample: Sample, rng: Random) -> str | None:
    form = is_json(example.response)
    others = [row.response for row in sample.others(example) if is_json(row.response) == form]
    return rng.choice(others) if others else None


OTHER_ROW = Corruption(
    name="other_row",
    plural="responses of other rows",
    explanation="the response of another row, at random",
    change=_change,
    ability="tell whether a response belongs to its request",
)
