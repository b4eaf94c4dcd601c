"""A refusal in place of an answer."""

from __future__ import annotations

from random import Random
from typing import Final

from clear_pipeline.corruptions.base import Corruption
from clear_pipeline.corruptions.json_text import change_content
from clear_pipeline.corruptions.sample import Sample
from clear_pipeline.prompts.candidate import REFUSAL as REFUSAL_BEGINS
from clear_pipeline.schema import Example

REFUSALS: Final = (
    "I'm sorry, but I can't help with that.",
    "I cannot assist with this request.",
    "As an AI language model, I am not able to answer this question.",
    "Sorry, I don't have enough information to help you with that.",
    "I apologise, but I am unable to provide a response to this.",
    "Unfortunately, I can't answer that. Is there anything else I can do for you?",
)


def _change(example: Example, _sample: Sample, rng: Random) -> str | None:
    if REFUSAL_BEGINS.match(example.response.replace("\u2019", "'").strip()):
        return None  # another refusal is as good
    refusal = rng.choice(REFUSALS)
    return change_content(example.response, lambda _: refusal)


REFUSAL = Corruption(
    name="refusal",
    plural="refusals",
    explanation="a refusal, in English, in place of the response",
    change=_change,
    ability="tell an answer from a refusal",
)
