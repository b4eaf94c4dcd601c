"""What a corruption is: a name, words for people, and a rule that spoils one response.

`plant` is the only way to apply one. It draws the random choices from the seed, the row's content
and the corruption's name, so that the same row is spoiled in the same way wherever it stands, and
it keeps the promises that no single rule has to think of.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random
from typing import TypeAlias

from clear_pipeline.corruptions.json_text import is_json
from clear_pipeline.corruptions.sample import Sample
from clear_pipeline.schema import Example, content_hash
from clear_pipeline.scoring.answers import same_answer

Change: TypeAlias = Callable[[Example, Sample, Random], str | None]
"""The spoiled response of a row, or None where the rule does not apply to it. A pure function."""


@dataclass(frozen=True, slots=True)
class Corruption:
    """One way to spoil a response.

    Attributes:
        name: Stable, for files.
        plural: What it plants, as in "it cannot see PLURAL".
        explanation: One line for people: what is done to the response.
        change: The rule.
        ability: What a model that does not see it cannot do, as in "it cannot ABILITY".
        keeps_json: Whether a response that is JSON stays JSON; False where the form is spoiled.
    """

    name: str
    plural: str
    explanation: str
    change: Change
    ability: str
    keeps_json: bool = True


def plant(corruption: Corruption, example: Example, sample: Sample, *, seed: int) -> Example | None:
    """The row with its response spoiled, under the id `ID#NAME`; all else is as it was.

    Args:
        corruption: What to plant.
        example: A row of the sample.
        sample: The rows that responses and names are borrowed from.
        seed: Of the random choices.

    Returns:
        None where it does not apply: the row has tool calls or cannot be scored, the rule has
        nothing to work on, the result would say the same as the response, or it would be JSON no
        more although the form is not what is spoiled.
    """
    if not is_plain(example):
        return None
    rng = Random(_seed(corruption, example, seed))  # noqa: S311 - no secret
    try:
        text = corruption.change(example, sample, rng)
        if text is None or not text.strip() or _says_the_same(text, example.response):
            return None
    except RecursionError:  # JSON nested deeper than Python can walk
        return None
    if corruption.keeps_json and is_json(example.response) and not is_json(text):
        return None
    target = replace(example.target, content=text)
    return replace(example, id=f"{example.id}#{corruption.name}", target=target)


def is_plain(example: Example) -> bool:
    """Whether the response is text alone, which is what a corruption can spoil."""
    return example.unscorable is None and not example.target.tool_calls


def _says_the_same(text: str, original: str) -> bool:
    # Words alone do not see that JSON has become text.
    return same_answer(text, original) and is_json(text) == is_json(original)


def _seed(corruption: Corruption, example: Example, seed: int) -> int:
    content = content_hash(example.messages, example.target, example.tools)
    digest = hashlib.sha256(f"{seed}:{content}:{corruption.name}".encode()).digest()
    return int.from_bytes(digest[:8], "big")
