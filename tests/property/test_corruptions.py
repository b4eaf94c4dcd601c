"""The contract of every corruption: a new one in the registry is tested by itself."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from clear_pipeline.corruptions import CORRUPTIONS, Corruption, Sample, plant
from clear_pipeline.corruptions.json_text import is_json
from clear_pipeline.schema import Example, Message
from clear_pipeline.scoring.answers import same_answer
from strategies import examples, json_values, texts

each = pytest.mark.parametrize("corruption", CORRUPTIONS.values(), ids=list(CORRUPTIONS))
few = settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])

_SAID = (
    "Plant tulip bulbs in autumn, about six weeks before the first hard frost.",
    "The capital of Canada is Ottawa, which lies on the river of the same name.",
    "A box of 24 pencils costs 1,560.50 dollars.\n1. Count 2. Pay",
    '{"answer": "Paris", "year": 1889, "notes": ["built by Gustave Eiffel"]}',
)
_LETTERS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60)
responses = st.one_of(
    st.sampled_from(_SAID),
    _LETTERS,
    st.lists(st.sampled_from([*_SAID, "\0", '"', "\\", "{", "0", "٣", "Ⅷ", "Ottawa", "²"])).map(
        " ".join
    ),
    json_values.map(lambda value: json.dumps(value, ensure_ascii=False)),
).filter(lambda text: bool(text.strip()))


def row(line: int, prompt: str, response: str) -> Example:
    return Example(
        id=f"a:{line}",
        file="a",
        line=line,
        format="chat",
        messages=(Message("user", prompt),),
        target=Message("assistant", response),
        original="{}",
    )


others = [
    row(1, "What is the capital of France? It is large.", "The capital of France is Paris."),
    row(2, "When was it built?", '{"answer": "It was built in 1889 by Gustave Eiffel."}'),
    row(3, "How many legs does a spider have?", "A spider has eight legs."),
]


@each
@few
@given(prompt=texts, response=responses, seed=st.integers(0, 3))
def test_a_corruption_spoils_the_response_alone(
    corruption: Corruption, prompt: str, response: str, seed: int
) -> None:
    """On any text: it never raises, says something else, and touches nothing but the response."""
    example = row(9, prompt, response)
    spoiled = plant(corruption, example, Sample([example, *others]), seed=seed)
    if spoiled is None:
        return
    assert spoiled.response.strip()
    assert not same_answer(spoiled.response, response) or is_json(response) != is_json(
        spoiled.response
    )
    assert replace(spoiled, id=example.id, target=example.target) == example
    assert replace(spoiled.target, content=response) == example.target
    if is_json(response):
        assert is_json(spoiled.response) or not corruption.keeps_json


@each
@few
@given(response=responses, seed=st.integers(0, 3), order=st.permutations(range(3)))
def test_a_corruption_depends_on_seed_and_content_alone(
    corruption: Corruption, response: str, seed: int, order: list[int]
) -> None:
    """Twice the same, whatever the order of the rows, their ids and their files."""
    example = row(9, "Where is it, and since when?", response)
    moved = replace(example, id="b:1", file="b", line=1, original='{"x": 1}')
    first = plant(corruption, example, Sample([example, *others]), seed=seed)
    again = plant(corruption, moved, Sample([*(others[i] for i in order), moved]), seed=seed)
    assert (first is None) == (again is None)
    if first is not None and again is not None:
        assert first.target == again.target


@each
@few
@given(example=examples, unscorable=st.none() | st.just("image"))
def test_rows_without_plain_text_are_declined(
    corruption: Corruption, example: Example, unscorable: str | None
) -> None:
    """Tool calls and rows that cannot be scored are never spoiled."""
    example = replace(example, unscorable=unscorable)
    assume(unscorable or example.target.tool_calls)
    assert plant(corruption, example, Sample([example, *others]), seed=0) is None


@each
def test_a_corruption_applies_somewhere(corruption: Corruption) -> None:
    """Each has a row among these that it spoils, with more than one result over the seeds."""
    sample = Sample(
        [*others, *(row(n, f"Question {n}? Is it so?", t) for n, t in enumerate(_SAID))]
    )
    planted = [plant(corruption, r, sample, seed=seed) for seed in range(4) for r in sample.rows]
    assert len({spoiled.response for spoiled in planted if spoiled is not None}) > 1


@each
def test_a_corruption_tells_people_what_it_does(corruption: Corruption) -> None:
    """Name and words are there, on one line each."""
    assert corruption.name == next(n for n, c in CORRUPTIONS.items() if c is corruption)
    for words in (corruption.plural, corruption.explanation, corruption.ability):
        assert words
        assert "\n" not in words


@each
def test_nested_json_is_survived(corruption: Corruption) -> None:
    """JSON deeper than Python can walk is declined or spoiled, never a crash."""
    example = row(9, "Nest.", "[" * 900 + "1" + "]" * 900)
    spoiled = plant(corruption, example, Sample([example, *others]), seed=0)
    assert spoiled is None or spoiled.response != example.response
