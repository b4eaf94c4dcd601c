"""A changed name: a false fact in an otherwise perfect response."""

from __future__ import annotations

import re
from random import Random

from clear_pipeline.corruptions.base import Corruption
from clear_pipeline.corruptions.sample import Sample, asked
from clear_pipeline.schema import Example


def _change(example: Example, sample: Sample, rng: Random) -> str | None:
    """A name becomes one of another row; first choice are names that the prompt does not give."""
    names = sample.names_in(example.response)
    if not names:
        return None
    prompt = asked(example).casefold()
    told = [name for name in names if name.casefold() not in prompt]
    old = rng.choice(told or names)
    here = f"{prompt}\n{example.response.casefold()}"
    others = sample.names_for(old, example.response)
    strangers = [name for name in others if name.casefold() not in here]
    if not strangers:
        return None
    new = rng.choice(strangers)
    return re.sub(rf"(?<!\w){re.escape(old)}(?!\w)", lambda _: new, example.response)


CHANGED_ENTITY = Corruption(
    name="changed_entity",
    plural="changed names",
    explanation="a capitalised name of the response replaced by one from another row",
    change=_change,
    ability="check facts",
)
