"""Tool calls are compared by name and arguments."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from clear_pipeline.llm.base import ChatRequest, Choice
from clear_pipeline.llm.scripted import ScriptedChat
from clear_pipeline.schema import Example, Message, canonical_json
from clear_pipeline.scoring.consistency import draw, lexical_agreement, observe
from clear_pipeline.scoring.tool_calls import calls_agreement, read_calls, same_calls

TOOLS = '[{"function":{"name":"weather"},"type":"function"}]'


def calls(*made: tuple[str, Any]) -> str:
    return canonical_json(
        [
            {"id": f"c{n}", "type": "function",
             "function": {"name": name, "arguments": json.dumps(arguments)}}
            for n, (name, arguments) in enumerate(made)
        ]
    )  # fmt: skip


def compared(first: str, second: str) -> tuple[bool, float]:
    left, right = read_calls(first), read_calls(second)
    assert left is not None
    assert right is not None
    assert same_calls(left, right) == same_calls(right, left)
    return same_calls(left, right), calls_agreement(left, right)


ONE = calls(("weather", {"city": "Paris", "days": 2}))


@pytest.mark.parametrize(
    "other",
    [
        calls(("weather", {"days": 2.0, "city": " paris"})),
        '{"name": "weather", "arguments": {"city": "Paris", "days": 2}}',
        '[{"name": "weather", "parameters": {"city": "Paris", "days": 2}}]',
        '<tool_call>\n{"name": "weather", "arguments": {"city": "Paris", "days": 2}}\n</tool_call>',
    ],
)
def test_the_form_of_a_call_does_not_count(other: str) -> None:
    """Order of keys, ids, spelling of numbers, and how a model writes a call."""
    assert compared(ONE, other) == (True, 1.0)


@pytest.mark.parametrize("arguments", ['"{}"', '""', "{}"])
def test_a_call_without_arguments_is_the_same_in_every_form(arguments: str) -> None:
    """As OpenAI writes it, as a string that is empty, as an object."""
    written = f'{{"name": "now", "arguments": {arguments}}}'
    assert compared(calls(("now", {})), written) == (True, 1.0)


def test_a_call_may_leave_its_arguments_out() -> None:
    """A row's call `now` is the draw's `now({})`; an object with a name alone is no call."""
    assert compared('[{"function": {"name": "now"}}]', calls(("now", {}))) == (True, 1.0)
    assert read_calls('{"name": "Bob"}') is None


@pytest.mark.parametrize(
    ("other", "agreement"),
    [
        (calls(("weather", {"city": "Rome", "days": 2})), 2 * 2 / 6),
        (calls(("weather", {"city": "Paris"})), 2 * 2 / 5),
        (calls(("weather", {"city": "Paris", "days": "2"})), 2 * 2 / 6),
        (calls(("news", {"city": "Paris", "days": 2})), 0.0),
        (calls(("weather", {"city": "Paris", "days": 2}), ("weather", {})), 2 * 3 / 8),
    ],
)
def test_calls_that_differ_agree_by_their_share_of_facts(other: str, agreement: float) -> None:
    """A name and two arguments are three facts; "2" is not 2, and another tool shares nothing."""
    same, share = compared(ONE, other)
    assert not same
    assert share == pytest.approx(agreement)


def test_the_order_of_calls_does_not_count_but_their_number_does() -> None:
    """The calls of one turn run side by side."""
    two = [("f", {"x": 1}), ("g", {"x": [1, 2]})]
    assert compared(calls(*two), calls(*reversed(two))) == (True, 1.0)
    assert not compared(calls(two[0]), calls(two[0], two[0]))[0]
    assert not compared(calls(two[1]), calls(("g", {"x": [2, 1]})))[0]


@pytest.mark.parametrize(
    "text", ["", "It rains.", "{}", "[]", '{"name": "x"}', "[1]", '[{"function": 1}]']
)
def test_other_text_is_no_call(text: str) -> None:
    """JSON without name and arguments is an answer."""
    assert read_calls(text) is None


def test_a_row_with_a_call_is_scored_by_draws_that_get_its_tools() -> None:
    """The same call agrees, another in part, words not at all; nothing else is asked."""
    example = Example(
        id="a:1",
        file="a",
        line=1,
        format="chat",
        messages=(Message("user", "Weather in Paris?"),),
        target=Message("assistant", tool_calls=calls(("weather", {"city": "Paris"}))),
        original="{}",
        tools=TOOLS,
    )
    made = [calls(("weather", {"city": city})) for city in ("Paris", "Rome")]

    def script(request: ChatRequest, sample: int) -> Choice:
        if sample == 2:
            return Choice("It rains.", "stop")
        return Choice("", "tool_calls", tool_calls=made[sample])

    model = ScriptedChat(script)
    draws = asyncio.run(draw(model, example, k=3, temperature=1.0, max_tokens=64))
    seen = asyncio.run(observe(example, draws, alpha=0.8, agree=lexical_agreement))
    assert [r.tools for r in model.requests] == [TOOLS]
    assert seen.entailment == pytest.approx((1.0 + 0.5 + 0.0) / 3)
    assert seen.exact_match == pytest.approx(1 / 3)
