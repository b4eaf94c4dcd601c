"""A column map beside files that have its columns, some of them, or none."""

from __future__ import annotations

from pathlib import Path

import pytest

from clear_pipeline.load import Quarantined
from loading import Row, events, jsonl, of, rows

CALL: Row = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
CALLED: list[Row] = [
    {"role": "user", "content": "Q"},
    {"role": "assistant", "content": "", "tool_calls": [CALL]},
]
Turns = list[tuple[str, str]]
ASKED: Turns = [("user", "Q")]
TOLD: Turns = [("system", "S"), ("user", "Q")]


@pytest.mark.parametrize(
    ("map_", "row", "read", "turns"),
    [
        (
            {"system": "sys"},
            {"instruction": "Q", "output": "A", "system": "S"},
            "alpaca",
            TOLD,
        ),
        (
            {"context": "passage"},
            {"instruction": "Q", "input": "C", "output": "A"},
            "alpaca",
            [("user", "Q\n\nC")],
        ),
        (
            {"system": "sys", "id": "key"},
            {"prompt": "Q", "response": "A", "sys": "S"},
            'prompt-completion{"id":"key","system":"sys"}',
            TOLD,
        ),
        (
            {"context": "k", "prompt": "frage", "response": "antwort"},
            {"frage": "Q", "antwort": "A", "prompt": "no", "response": "no"},
            'prompt-completion{"context":"k","prompt":"frage","response":"antwort"}',
            ASKED,
        ),
    ],
)
def test_each_column_of_a_map_counts_where_it_is(
    tmp_path: Path, map_: dict[str, str], row: Row, read: str, turns: Turns
) -> None:
    """A file without any of the columns is read as ever, one with some of them by those."""
    (tmp_path / "a.jsonl").write_bytes(jsonl([row]))

    (found,) = rows(events(tmp_path, map=map_))

    assert found["format"] == read
    assert [(turn["role"], turn["content"]) for turn in found["messages"]] == turns


@pytest.mark.parametrize("more", [{}, {"key": "7"}])
def test_tool_calls_outlive_a_map_that_their_format_does_not_have(
    tmp_path: Path, more: Row
) -> None:
    """OpenAI rows without the mapped system column stay OpenAI rows, beside a file that has it."""
    (tmp_path / "chat.jsonl").write_bytes(jsonl([{"messages": CALLED, **more}]))
    (tmp_path / "qa.csv").write_text("question,answer,sys,key\nQ,A,S,1\n")

    chat, pair = rows(events(tmp_path, map={"system": "sys", "id": "key"}))

    assert chat["format"] == "openai"
    assert chat["target"]["tool_calls"] is not None
    assert [turn["content"] for turn in pair["messages"]] == ["S", "Q"]


def test_a_given_format_is_read_without_a_map_whose_columns_are_not_there(tmp_path: Path) -> None:
    """The file's own `system` is read, and a file of no such columns is told row by row."""
    row = {"instruction": "Q", "output": "A", "system": "S"}
    (tmp_path / "a.jsonl").write_bytes(jsonl([row]))
    (tmp_path / "b.jsonl").write_bytes(jsonl([{"x": "1"}]))

    found = events(tmp_path, map={"system": "sys"}, format="alpaca")

    (kept,) = rows(found)
    assert [turn["content"] for turn in kept["messages"]] == ["S", "Q"]
    (aside,) = of(Quarantined, found)
    assert aside.reason == "missing key 'instruction' (found x)"
