"""The response of another row, at random: what swapped columns and shifted lines look like."""

from __future__ import annotations

from random import Random

from clear_pipeline.corruptions.base import Corruption
from clear_pipeline.corruptions.sample import Sample, can_stand_for
from clear_pipeline.schema import Example


def _change(example: Example, sample: Sample, rng: Random) -> str | None:
    shuffled = rng.sample(sample.rows, len(sample.rows))
    return next((row.response for row in shuffled if can_stand_for(row, example)), None)


OTHER_ROW = Corruption(
    name="other_row",
    plural="responses of other rows",
    explanation="the response of another row, at random",
    change=_change,
    ability="tell whether a response belongs to its request",
)
