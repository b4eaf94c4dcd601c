"""Rectify, where a row calls tools: a call that the model writes as text becomes one."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from clear_pipeline.llm.base import ChatRequest, Choice
from clear_pipeline.llm.scripted import Reply
from clear_pipeline.schema import Message
from rectify_rows import letters, row, run

BARE = '{"name": "look", "arguments": {"at": "Rome"}}'


@pytest.mark.parametrize(
    ("reply", "content"),
    [
        (BARE, None),
        (f"```json\n{BARE}\n```", None),
        (f"<tool_call>{BARE}</tool_call>", None),
        (f"I will look.\n<tool_call>\n{BARE}\n</tool_call>", "I will look."),
    ],
)
def test_a_call_in_text_becomes_a_call_where_the_row_has_one(
    reply: str, content: str | None
) -> None:
    """A server that parses none must not turn a structured call into words; its id is a new one."""
    before = '[{"function":{"arguments":"{}","name":"look"},"id":"call_1","type":"function"}]'
    asked = (
        Message("user", "Paris?"),
        Message("assistant", None, tool_calls=before),
        Message("tool", "Nothing.", tool_call_id="call_1"),
    )
    own = '[{"function":{"arguments":"{\\"at\\":\\"Paris\\"}","name":"look"},"id":"x"}]'
    old = replace(row(1), messages=asked, target=Message("assistant", None, tool_calls=own))

    def judge(request: ChatRequest, _: int) -> Reply:
        text = request.messages[0].text
        return Choice("A" if text.index("Rome") < text.index('"x"') else "B", "stop")

    [got], _, _ = run(letters(), [old], candidate=reply, judge=judge)
    assert got["rectify_outcome"] == "replaced"
    assert got["new_target"]["content"] == content
    assert json.loads(got["new_target"]["tool_calls"]) == [
        {
            "id": "call_2",
            "type": "function",
            "function": {"name": "look", "arguments": '{"at":"Rome"}'},
        }
    ]


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        ('<tool_call>{"name": "look"</tool_call>', "its tool calls cannot be read"),
        (
            '<tool_call>{"name": "look", "arguments": {"at": "\\ud83d"}}</tool_call>',
            "it holds half of a character",
        ),
    ],
)
def test_a_call_in_text_that_cannot_become_one_is_refused(reply: str, why: str) -> None:
    """Whatever of the form must be kept."""
    own = '[{"function":{"arguments":"{}","name":"look"},"id":"x","type":"function"}]'
    old = replace(row(1), target=Message("assistant", None, tool_calls=own))
    [got], _, judge = run(letters(keep_form=()), [old], candidate=reply)
    assert (got["rectify_reason"], judge.requests) == (f"candidate refused: {why}", [])


def test_words_beside_the_same_call_confirm() -> None:
    """Two turns that call the same tools say the same."""
    own = '[{"function":{"arguments":"{\\"at\\":\\"Rome\\"}","name":"look"},"id":"x"}]'
    old = replace(row(1), target=Message("assistant", None, tool_calls=own))
    reply = f"I will look.\n<tool_call>{BARE}</tool_call>"
    [got], _, judge = run(letters(), [old], candidate=reply)
    assert (got["rectify_outcome"], judge.requests) == ("confirmed", [])
