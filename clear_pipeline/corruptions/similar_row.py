"""The response of the row with the most similar prompt: on topic, and yet the wrong answer."""

from __future__ import annotations

from random import Random

from clear_pipeline.corruptions.base import Corruption
from clear_pipeline.corruptions.sample import Sample
from clear_pipeline.schema import Example


def _change(example: Example, sample: Sample, _rng: Random) -> str | None:
    other = sample.most_similar(example)
    return None if other is None else other.response


SIMILAR_ROW = Corruption(
    name="similar_row",
    plural="responses of similar rows",
    explanation="the response of the row whose prompt is most similar (TF-IDF)",
    change=_change,
    ability="tell the right response from that of a similar request",
)
