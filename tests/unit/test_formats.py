"""What each format reads and writes, by hand-made rows."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from clear_pipeline.errors import ConfigError
from clear_pipeline.formats import FORMATS, RowError
from clear_pipeline.schema import Message, canonical_json
from strategies import example_of

Row = dict[str, Any]
CALL: Row = {"id": "a1", "type": "function", "function": {"name": "add", "arguments": '{"x": 1}'}}
TOOL_TURNS: list[Row] = [
    {"role": "user", "content": "1 + 1?"},
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "content": "2", "tool_call_id": "a1"},
    {"role": "assistant", "content": "2"},
]


def user(text: str) -> Message:
    return Message("user", text)


@pytest.mark.parametrize(
    ("row", "prompt"),
    [
        ({"instruction": "Sum up.", "input": "A text.", "output": "T"}, "Sum up.\n\nA text."),
        ({"instruction": "Sum up.", "input": "", "output": "T"}, "Sum up."),
        ({"instruction": "Sum up.", "input": None, "output": "T"}, "Sum up."),
        ({"instruction": "Sum up.", "output": "T"}, "Sum up."),
    ],
)
def test_alpaca_joins_instruction_and_input(row: Row, prompt: str) -> None:
    """The prompt is the instruction and, after a blank line, the input if there is any."""
    parsed = FORMATS["alpaca"].read(row)

    assert parsed.messages == (user(prompt),)
    assert parsed.target == Message("assistant", "T")


@pytest.mark.parametrize(
    ("row", "prompt"),
    [
        ({"prompt": "Q", "completion": "A"}, "Q"),
        ({"query": "Q", "response": "A"}, "Q"),
        ({"input": "Q", "output": "A"}, "Q"),
        ({"question": "Q", "context": "C", "answer": "A"}, "Q\n\nC"),
        ({"instruction": "Q", "context": "C", "response": "A", "category": "x"}, "Q\n\nC"),
        ({"instruction": "Q", "input": "C", "response": "A"}, "Q\n\nC"),
        ({"prompt": "Q", "context": "where it came from", "completion": "A"}, "Q"),
    ],
)
def test_prompt_completion_goes_by_many_names(row: Row, prompt: str) -> None:
    """A context completes an instruction or a question; a `prompt` is whole."""
    parsed = FORMATS["prompt-completion"].read(row)

    assert parsed.messages == (user(prompt),)
    assert parsed.target.content == "A"


def test_system_columns_become_a_system_turn() -> None:
    """As in OpenOrca: `system_prompt`, `question`, `response`."""
    row = {"system_prompt": "Be brief.", "question": "Q", "response": "A"}

    parsed = FORMATS["prompt-completion"].read(row)

    assert parsed.messages == (Message("system", "Be brief."), user("Q"))


def test_ambiguous_columns_are_not_guessed() -> None:
    """Where two columns could be the response, the error names both and the way out."""
    with pytest.raises(RowError, match=r"the response \(response, answer\); choose: --map resp"):
        FORMATS["prompt-completion"].read({"question": "Q", "answer": "A", "response": "B"})


def test_a_column_map_decides_and_is_remembered_by_the_row() -> None:
    """A mapped row is written back into its own columns without the map being given again."""
    mapped = FORMATS["prompt-completion"].mapped({"prompt": "q", "response": "answer"})
    row = {"q": "Q", "answer": "A", "response": "other", "prompt": "also other"}

    example = example_of(row, mapped.key)
    new = replace(example, target=Message("assistant", "B"))

    assert example.messages == (user("Q"),)
    assert FORMATS["prompt-completion"].write(example) == row
    assert FORMATS["prompt-completion"].write(new) == {**row, "answer": "B"}


def test_a_column_map_with_an_unknown_field_is_an_error() -> None:
    """The error names the field and those that there are."""
    with pytest.raises(ConfigError, match="alpaca has no 'prompt'; it has id, input, instruction"):
        FORMATS["alpaca"].mapped({"prompt": "q"})


def test_an_unknown_format_names_the_known_ones() -> None:
    """Looking up a format that does not exist says which exist."""
    with pytest.raises(KeyError, match="no format 'dolly'; there are openai, sharegpt, alpaca, p"):
        FORMATS["dolly"]


@pytest.mark.parametrize(("source_id", "expected"), [("x-1", "x-1"), (7, "7"), (True, None)])
def test_the_source_id_is_kept_as_text(source_id: Any, expected: str | None) -> None:  # noqa: ANN401
    """An id column that holds text or a whole number is the source id."""
    row = {"id": source_id, "prompt": "Q", "completion": "A"}

    assert FORMATS["prompt-completion"].read(row).source_id == expected


def test_chat_target_is_the_last_turn_and_may_be_a_tool_call() -> None:
    """A tool call without text is a target; tool definitions are canonical JSON."""
    tools: list[Row] = [{"type": "function", "function": {"name": "add"}}]

    parsed = FORMATS["openai"].read({"messages": TOOL_TURNS[:2], "tools": tools})

    assert parsed.target == Message("assistant", tool_calls=canonical_json([CALL]))
    assert parsed.tools == '[{"function":{"name":"add"},"type":"function"}]'


@pytest.mark.parametrize("own_columns", [True, False])
def test_chat_in_csv_is_written_as_lists(*, own_columns: bool) -> None:
    """JSON text is read, and written as the values that it says; an empty cell says nothing."""
    tools: list[Row] = [{"type": "function", "function": {"name": "add"}}]
    row = {"n": "7", "messages": json.dumps(TOOL_TURNS), "tools": ""}
    with_tools = row | {"tools": json.dumps(tools)}
    new = replace(example_of(row, "openai"), target=Message("assistant", "two"))
    write = partial(FORMATS["openai"].write, own_columns=own_columns)

    assert write(example_of(row, "openai")) == {"n": "7", "messages": TOOL_TURNS}
    assert write(example_of(with_tools, "openai")) == {
        "n": "7",
        "messages": TOOL_TURNS,
        "tools": tools,
    }
    two = {"role": "assistant", "content": "two"}
    assert write(new) == {"n": "7", "messages": [*TOOL_TURNS[:-1], two]}


def test_lists_of_csv_keep_the_names_of_a_column_map() -> None:
    """Of a single file: the values are those of the format, the names those of the user."""
    mapped = FORMATS["openai"].mapped({"messages": "talk"})
    turns = [{"role": "user", "content": "1 + 1?"}, {"role": "assistant", "content": "2"}]
    talk = example_of({"talk": json.dumps(turns)}, mapped.key)
    assert FORMATS["openai"].write(talk) == {"talk": turns}
    assert FORMATS["openai"].write(talk, own_columns=False) == {"messages": turns}
    said = [{"from": "human", "value": "1 + 1?"}, {"from": "gpt", "value": "2"}]
    share = example_of({"conversations": json.dumps(said), "tools": "[]"}, "sharegpt")
    assert FORMATS["sharegpt"].write(share) == {"conversations": said, "tools": "[]"}


def test_text_parts_are_joined_and_images_carried_through() -> None:
    """Text parts are text; with an image the row is unscorable and written back as it was."""
    text_part: Row = {"type": "text", "text": "What is"}
    image: Row = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
    answer: Row = {"role": "assistant", "content": "A cat"}

    plain = FORMATS["openai"].read(
        {"messages": [{"role": "user", "content": [text_part, text_part]}, answer]}
    )
    row: Row = {"messages": [{"role": "user", "content": [text_part, image]}, answer]}
    example = example_of(row, "openai")

    assert (plain.messages, plain.unscorable) == ((user("What is\nWhat is"),), None)
    assert example.unscorable == "image"
    assert FORMATS["openai"].write(example) == row
    with pytest.raises(RowError, match=r"alpaca has no place for a content part \(image\)"):
        FORMATS["alpaca"].write(example)


def test_deprecated_functions_are_tools() -> None:
    """`functions`, `function_call` and role `function` mean tools, tool calls and role tool."""
    row: Row = {
        "messages": [
            {"role": "user", "content": "1 + 1?"},
            {"role": "assistant", "function_call": {"name": "add", "arguments": "{}"}},
            {"role": "function", "name": "add", "content": "2"},
            {"role": "assistant", "content": "2"},
        ],
        "functions": [{"name": "add"}],
    }

    parsed = FORMATS["openai"].read(row)

    made: list[Row] = [
        {"id": "call_1", "type": "function", "function": {"name": "add", "arguments": "{}"}}
    ]
    assert parsed.messages[1].tool_calls == canonical_json(made)
    assert parsed.messages[2] == Message("tool", "2", name="add", tool_call_id="call_1")
    assert parsed.tools == '[{"function":{"name":"add"},"type":"function"}]'


def test_a_new_call_of_a_row_with_functions_is_a_function_call() -> None:
    """A rectified target is written under the deprecated key, which `functions` goes with."""
    row: Row = {
        "messages": [
            {"role": "user", "content": "1 + 1?"},
            {"role": "assistant", "function_call": {"name": "add", "arguments": "{}"}},
        ],
        "functions": [{"name": "add"}],
    }
    example = example_of(row, "openai")
    better = replace(example, target=Message("assistant", tool_calls=canonical_json([CALL])))

    written = FORMATS["openai"].write(better)

    last: Row = {"role": "assistant", "content": None, "function_call": CALL["function"]}
    assert written == {**row, "messages": [{"role": "user", "content": "1 + 1?"}, last]}


def test_keys_of_a_tool_call_that_are_null_are_not_there() -> None:
    """Parquet gives every call the keys of all calls."""
    padded = {**CALL, "id": None, "custom": None}
    turns: list[Row] = [
        {"role": "user", "content": "1 + 1?"},
        {"role": "assistant", "content": None, "tool_calls": [padded]},
    ]

    parsed = FORMATS["openai"].read({"messages": turns})

    without_id = {key: value for key, value in CALL.items() if key != "id"}
    assert parsed.target == Message("assistant", tool_calls=canonical_json([without_id]))


def test_weights_are_kept() -> None:
    """`weight` of a turn is read, and written back as the whole number it was."""
    turns: list[Row] = [
        {"role": "user", "content": "Q"},
        {"role": "assistant", "content": "A", "weight": 0},
    ]
    example = example_of({"messages": turns}, "openai")

    assert example.target.weight == 0.0
    assert FORMATS["sharegpt"].write(example)["conversations"] == [
        {"from": "human", "value": "Q"},
        {"from": "gpt", "value": "A", "weight": 0},
    ]
    with pytest.raises(RowError, match="alpaca cannot express this openai row"):
        FORMATS["alpaca"].write(example)


def test_sharegpt_tool_turns_are_those_of_openai() -> None:
    """Function calls and observations become numbered tool calls and their answers."""
    row: Row = {
        "conversations": [
            {"from": "human", "value": "1 + 1?"},
            {"from": "function_call", "value": '{"name": "add", "arguments": {"x": 1}}'},
            {"from": "observation", "value": "2"},
            {"from": "gpt", "value": "2"},
        ],
        "system": "Be brief.",
    }

    written = FORMATS["openai"].write(example_of(row, "sharegpt"))

    made = {**CALL, "id": "call_1", "function": {"name": "add", "arguments": '{"x":1}'}}
    assert written["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "1 + 1?"},
        {"role": "assistant", "tool_calls": [made]},
        {"role": "tool", "content": "2", "tool_call_id": "call_1"},
        {"role": "assistant", "content": "2"},
    ]


def test_sharegpt_turns_may_hold_tool_calls_as_openai_has_them() -> None:
    """Calls in a turn keep their ids, or are numbered, and are answered in their order."""
    unnamed = {key: value for key, value in CALL.items() if key != "id"}
    row: Row = {
        "conversations": [
            {"from": "human", "value": "1 + 1?"},
            {"from": "gpt", "value": "", "tool_calls": [{**CALL, "id": "a"}, unnamed]},
            {"from": "tool", "value": "2"},
            {"from": "tool", "value": "3"},
            {"from": "gpt", "value": "2 and 3"},
        ],
    }

    parsed = FORMATS["sharegpt"].read(row)

    made = [{**CALL, "id": "a"}, {**CALL, "id": "call_2"}]
    assert parsed.messages[1] == Message("assistant", "", tool_calls=canonical_json(made))
    assert [m.tool_call_id for m in parsed.messages[2:]] == ["a", "call_2"]


def test_openai_tool_turns_fit_sharegpt_whatever_their_ids() -> None:
    """Ids are links: answers in the order of the calls need none."""
    written = FORMATS["sharegpt"].write(example_of({"messages": TOOL_TURNS}, "openai"))

    turns = written["conversations"]
    assert isinstance(turns, list)
    assert turns[1:3] == [
        {"from": "function_call", "value": '{"name": "add", "arguments": {"x": 1}}'},
        {"from": "observation", "value": "2"},
    ]


def test_answers_out_of_order_do_not_fit_sharegpt() -> None:
    """Without ids the first answer would be taken for the first call's: refused."""
    second = {**CALL, "id": "a2"}
    turns: list[Row] = [
        TOOL_TURNS[0],
        {"role": "assistant", "tool_calls": [CALL, second]},
        {"role": "tool", "content": "of a2", "tool_call_id": "a2"},
        {"role": "tool", "content": "of a1", "tool_call_id": "a1"},
        TOOL_TURNS[3],
    ]

    with pytest.raises(RowError, match="sharegpt cannot express this openai row"):
        FORMATS["sharegpt"].write(example_of({"messages": turns}, "openai"))


@pytest.mark.parametrize(
    ("turns", "reason"),
    [
        (TOOL_TURNS[:2], "alpaca has no place for tool calls"),
        (TOOL_TURNS, "alpaca holds one user turn before the target, not user, assistant, tool"),
        (
            [{"role": "developer", "content": "d"}, *TOOL_TURNS[::3]],
            "alpaca holds one user turn before the target, not developer, user",
        ),
    ],
)
def test_what_alpaca_cannot_hold_is_refused(turns: list[Any], reason: str) -> None:
    """The error names the format and the part that has no place in it."""
    with pytest.raises(RowError, match=reason):
        FORMATS["alpaca"].write(example_of({"messages": turns}, "openai"))


def test_carried_columns_make_way_for_those_of_the_format() -> None:
    """A carried column whose name the written format uses is kept under another name."""
    turns: list[Row] = [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]
    row: Row = {"messages": turns, "input": 5, "source_input": 6, "label": "good"}

    assert FORMATS["alpaca"].write(example_of(row, "openai")) == {
        "instruction": "Q",
        "input": "",
        "output": "A",
        "source_source_input": 5,
        "source_input": 6,
        "label": "good",
    }


def test_a_system_column_beside_a_system_turn_is_carried_along() -> None:
    """The turn is what counts, and the column's text is not lost in another format."""
    said = [("system", "In turns."), ("human", "Q"), ("gpt", "A")]
    row: Row = {
        "conversations": [{"from": speaker, "value": text} for speaker, text in said],
        "system": "In the column.",
    }
    example = example_of(row, "sharegpt")

    assert [message.text for message in example.messages] == ["In turns.", "Q"]
    assert FORMATS["openai"].write(example)["system"] == "In the column."
    assert FORMATS["prompt-completion"].write(example) == {
        "prompt": "Q",
        "system": "In turns.",
        "completion": "A",
        "source_system": "In the column.",
    }


@pytest.mark.parametrize(
    ("name", "column", "speaker", "said", "own_columns"),
    [
        ("openai", "messages", "role", "content", True),
        ("openai", "messages", "role", "content", False),
        ("sharegpt", "conversations", "from", "value", True),
    ],
)
def test_tool_calls_as_text_are_written_as_lists(
    name: str, column: str, speaker: str, said: str, *, own_columns: bool
) -> None:
    """An exported Parquet has them as JSON text, which no trainer takes in a turn of JSONL."""
    asked = {speaker: "user", said: "1 + 1?"}
    call = {speaker: "assistant", said: "Let me see."}
    row: Row = {column: [asked, call | {"tool_calls": json.dumps([CALL])}]}
    example = example_of(row, name)

    written = FORMATS[name].write(example, own_columns=own_columns)

    assert written == {column: [asked, call | {"tool_calls": [CALL]}]}
    assert FORMATS[name].read(written).target == example.target
