"""What a fine-tuning platform asks of a row, rule by rule."""

from __future__ import annotations

from typing import Any

import pytest

from clear_pipeline.finetune.openai_jobs.rules import row_doubts, row_faults

Turn = dict[str, Any]

ASK: Turn = {"role": "user", "content": "2 + 2?"}
ANSWER: Turn = {"role": "assistant", "content": "4"}
TOOL: Turn = {
    "type": "function",
    "function": {"name": "add", "parameters": {"type": "object", "properties": {}}},
}


def call(id_: str = "c1", *, name: str = "add", arguments: str = '{"a": 2}') -> Turn:
    function = {"name": name, "arguments": arguments}
    return {"id": id_, "type": "function", "function": function}


def calling(*calls: Turn) -> Turn:
    return {"role": "assistant", "tool_calls": list(calls)}


def reply(id_: str = "c1") -> Turn:
    return {"role": "tool", "tool_call_id": id_, "content": "4"}


def image(url: str = "https://example.org/a.png") -> Turn:
    return {"type": "image_url", "image_url": {"url": url}}


GOOD: dict[str, dict[str, Any]] = {
    "plain": {"messages": [ASK, ANSWER]},
    "system first": {"messages": [{"role": "system", "content": "Be brief."}, ASK, ANSWER]},
    "developer first": {"messages": [{"role": "developer", "content": "Hi."}, ASK, ANSWER]},
    "weights": {"messages": [ASK, ANSWER | {"weight": 0}, ASK, ANSWER | {"weight": 1}]},
    "parts": {"messages": [{"role": "user", "content": [image(), {"type": "text", "text": "?"}]},
                           ANSWER]},
    "refusal": {"messages": [ASK, {"role": "assistant", "content": None, "refusal": "No."}]},
    "name": {"messages": [ASK | {"name": "ann"}, ANSWER]},
    "calls to learn": {"tools": [TOOL], "messages": [ASK, calling(call())]},
    "calls answered": {
        "tools": [TOOL], "parallel_tool_calls": True,
        "messages": [ASK, calling(call("a"), call("b")), reply("b"), reply("a"), ANSWER],
    },
    "empty reply of a tool": {
        "tools": [TOOL],
        "messages": [ASK, calling(call()), reply() | {"content": ""}, ANSWER],
    },
    "functions of old": {
        "functions": [TOOL["function"]],
        "messages": [
            ASK, {"role": "assistant", "function_call": {"name": "add", "arguments": "{}"}},
            {"role": "function", "name": "add", "content": "4"}, ANSWER,
        ],
    },
}  # fmt: skip


@pytest.mark.parametrize("row", GOOD.values(), ids=GOOD)
def test_good_rows(row: dict[str, Any]) -> None:
    """What the platform takes has no fault and raises no doubt."""
    assert list(row_faults(row)) == []
    assert list(row_doubts(row)) == []


@pytest.mark.parametrize(
    ("turns", "fault"),
    [
        ([{"role": "bot", "content": "hi"}, ANSWER], "turn 1: role is 'bot', expected system, "),
        ([{"role": ["user"], "content": "hi"}, ANSWER], "turn 1: role is a list, expected"),
        ([{"content": "hi"}, ANSWER], "turn 1: role is null, expected"),
        ([ASK], "no turn of the assistant: there is nothing to learn"),
        ([ASK, ANSWER, ASK], "the last turn is the user's, expected the assistant's"),
        ([ASK | {"content": ""}, ANSWER], "turn 1: content is empty"),
        ([{"role": "user"}, ANSWER], "turn 1: content is missing"),
        ([ASK, {"role": "assistant", "content": None}], "turn 2: content is missing"),
        ([ASK | {"content": 4}, ANSWER], "turn 1: content is a number, expected text or a list"),
        ([ASK | {"content": []}, ANSWER], "turn 1: content is a list, expected text or a list"),
        ([ASK | {"content": [{"text": "a"}]}, ANSWER], "turn 1: content part 1 has no type"),
        ([ASK | {"content": [{"type": "text", "text": ""}]}, ANSWER],
         "turn 1: content part 1 of type 'text' is empty or unknown"),
        ([ASK | {"content": [{"type": "input_audio"}]}, ANSWER],
         "turn 1: content part 1 of type 'input_audio' is empty or unknown"),
        ([ASK | {"content": [image("a.png")]}, ANSWER],
         "turn 1: content part 1: the image is no URL and no data URL"),
        ([ASK, ANSWER | {"content": [image()]}],
         "turn 2: content part 1: an image of the assistant, or one without a URL"),
        ([ASK | {"content": [image()] * 11}, ANSWER], "11 images, at most 10 are taken"),
        ([ASK, ANSWER | {"weight": 0.5}], "turn 2: weight is 0.5, expected 0 or 1"),
        ([ASK, ANSWER | {"weight": True}], "turn 2: weight is True, expected 0 or 1"),
        ([ASK | {"weight": 1}, ANSWER],
         "turn 1: weight on a turn of the user: only the assistant's turns have one"),
        ([ASK, ANSWER | {"weight": 0}],
         "every turn of the assistant has weight 0: there is nothing to learn"),
        ([ASK | {"mood": "gay"}, ANSWER], "turn 1: unknown keys mood"),
        ([ASK | {"name": ""}, ANSWER], "turn 1: name is text, expected text that is not empty"),
        (["hi", ANSWER], "turn 1 is text, expected an object"),
        ([], "messages is a list, expected a list of turns that is not empty"),
        ("hi", "messages is text, expected a list of turns that is not empty"),
    ],
)  # fmt: skip
def test_faults_of_turns(turns: Any, fault: str) -> None:  # noqa: ANN401
    """Each rule that is broken is told once, with its turn."""
    (found,) = row_faults({"messages": turns})
    assert found.startswith(fault)


def test_unknown_columns() -> None:
    """A column that the platform does not know is named, with how to export without it."""
    (found,) = row_faults({"messages": [ASK, ANSWER], "source": "x", "id": 1})
    assert found == "unknown columns id, source: export with extra_columns: drop"


@pytest.mark.parametrize(
    ("turns", "fault"),
    [
        ([ASK, calling(call(name="sub"))], "turn 2: calls 'sub', which is not among the row's"),
        ([ASK, calling(call(arguments="{"))], "turn 2: the arguments of 'add' cannot be read"),
        ([ASK, calling(call(arguments="[2]"))],
         "turn 2: the arguments of 'add' are a list, expected an object"),
        ([ASK, calling(call() | {"id": ""})], "turn 2: a call lacks its id"),
        ([ASK, calling(call() | {"type": "tool"})], "turn 2: a call lacks its id, its type"),
        ([ASK, calling(call() | {"function": {"name": "add"}})], "turn 2: a call has no function"),
        ([ASK, calling(call(), call())], "turn 2: two calls have the id 'c1'"),
        ([ASK, calling() | {"content": "4"}], "turn 2: tool_calls is a list, expected a list that"),
        ([ASK | {"tool_calls": [call()]}, reply(), ANSWER],
         "turn 1: the user calls a tool; only the assistant may"),
        ([ASK, calling(call()), reply("c2"), ANSWER],
         "turn 3: tool_call_id 'c2' answers no open call before it"),
        ([ASK, calling(call()), reply(), reply(), ANSWER],
         "turn 4: tool_call_id 'c1' answers no open call before it"),
        ([ASK, reply(), ANSWER], "turn 2: tool_call_id 'c1' answers no open call before it"),
        ([ASK, calling(call("a"), call("b")), reply("a"), ANSWER],
         "turn 4: stands before the answer to 'b'"),
        ([ASK | {"tool_call_id": "c1"}, ANSWER], "turn 1: tool_call_id on a turn of the user"),
        ([ASK, {"role": "function", "name": "add", "content": "4"}, ANSWER],
         "turn 2: the function answers no function_call before it"),
        ([ASK, {"role": "assistant", "function_call": {"name": "sub", "arguments": "{}"}}],
         "turn 2: calls 'sub', which is not among the row's tools"),
    ],
)  # fmt: skip
def test_faults_of_calls(turns: list[Turn], fault: str) -> None:
    """Calls are of declared tools, readable, and answered before anybody else speaks."""
    found = list(row_faults({"messages": turns, "tools": [TOOL]}))
    assert any(each.startswith(fault) for each in found), found


@pytest.mark.parametrize(
    ("columns", "fault"),
    [
        ({"tools": []}, "tools is a list, expected a list that is not empty"),
        ({"tools": [TOOL["function"]]}, 'tools: number 1 is not {"type": "function", "function"'),
        ({"tools": [TOOL, TOOL]}, "tools: 'add' is declared twice"),
        ({"tools": [{"type": "function", "function": {"name": "a b"}}]},
         "tools: number 1 has no name of up to 64 letters"),
        ({"tools": [{"type": "function", "function": {"name": "a", "parameters": "x"}}]},
         "tools: the parameters of number 1 are no JSON schema"),
        ({"functions": [{}]}, "functions: number 1 has no name of up to 64 letters"),
        ({"tools": [TOOL], "parallel_tool_calls": "no"},
         "parallel_tool_calls is neither true nor false"),
        ({"tools": [{"type": "function", "function": {"name": f"t{n}"}} for n in range(129)]},
         "tools: 129 are declared, at most 128 are taken"),
    ],
)  # fmt: skip
def test_faults_of_declarations(columns: dict[str, Any], fault: str) -> None:
    """Tools are declared in the platform's shape, each once."""
    (found,) = row_faults({"messages": [ASK, ANSWER], **columns})
    assert found.startswith(fault)


@pytest.mark.parametrize(
    ("turns", "doubt"),
    [
        ([ANSWER], "no user turn: nothing is asked"),
        ([ASK, ANSWER, {"role": "system", "content": "Be brief."}, ANSWER],
         "turn 3: the system speaks after others"),
        ([ASK, ASK, ANSWER], "turn 2: two turns of the user in a row"),
        ([ASK, ANSWER, ANSWER], "turn 3: two turns of the assistant in a row"),
    ],
)  # fmt: skip
def test_doubts(turns: list[Turn], doubt: str) -> None:
    """What the platform takes all the same, but models are seldom asked."""
    assert list(row_faults({"messages": turns})) == []
    assert list(row_doubts({"messages": turns})) == [doubt]
