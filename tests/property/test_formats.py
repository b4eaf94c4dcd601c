"""What holds for every format and every usable row."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clear_pipeline.formats import FORMATS, Parsed, RowError
from clear_pipeline.schema import Example, Message
from strategies import (
    ROWS_BY_FORMAT,
    UNKNOWN_COLUMNS,
    alpaca_rows,
    example_of,
    examples,
    openai_rows,
    pair_rows,
    said,
    sharegpt_rows,
)

UNTOUCHED = frozenset(
    {"instruction", "input", "prompt", "question", "query", "system", "tools", "label", "id"}
)
every_format = pytest.mark.parametrize("name", list(FORMATS))
some = settings(max_examples=50, deadline=None)

single_turns = st.one_of(
    alpaca_rows.map(lambda row: example_of(row, "alpaca")),
    pair_rows.map(lambda row: example_of(row, "prompt-completion")),
)
conversations = st.one_of(
    openai_rows.map(lambda row: example_of(row, "openai")),
    sharegpt_rows.map(lambda row: example_of(row, "sharegpt")),
)


def parsed(example: Example) -> Parsed:
    return Parsed(
        example.messages, example.target, example.tools, example.unscorable, example.source_id
    )


def test_every_format_has_a_strategy() -> None:
    """A new format is tested as soon as `strategies.ROWS_BY_FORMAT` has rows of it."""
    assert set(ROWS_BY_FORMAT) == set(FORMATS)


@every_format
@some
@given(data=st.data())
def test_rows_come_back_as_they_were(name: str, data: st.DataObject) -> None:
    """A row written in its own format is the source row: values, columns and their order."""
    row = data.draw(ROWS_BY_FORMAT[name])

    written = FORMATS[name].write(example_of(row, name))

    assert list(written.items()) == list(row.items())


@every_format
@some
@given(data=st.data(), answer=said)
def test_a_new_target_changes_nothing_else(name: str, data: st.DataObject, answer: str) -> None:
    """With a replaced target the row says the new text and is otherwise the source row."""
    row = data.draw(ROWS_BY_FORMAT[name])
    example = example_of(row, name)
    target = Message("assistant", answer)

    written = FORMATS[name].write(replace(example, target=target))

    assert FORMATS[name].read(written) == replace(parsed(example), target=target)
    changed = {column for column in row if written[column] != row[column]}
    assert list(written) == list(row)
    assert len(changed) <= 1
    assert changed.isdisjoint(UNTOUCHED)


@every_format
@some
@given(example=single_turns)
def test_single_turns_fit_every_format(name: str, example: Example) -> None:
    """One question with one text answer keeps prompt, target and source id in any format."""
    assert FORMATS[name].read(FORMATS[name].write(example)) == parsed(example)


@pytest.mark.parametrize("name", ["openai", "sharegpt"])
@some
@given(example=conversations)
def test_conversations_fit_both_formats_of_conversations(name: str, example: Example) -> None:
    """Turns, tool calls with their answers and tool definitions survive the change of format."""
    assert FORMATS[name].read(FORMATS[name].write(example)) == parsed(example)


@every_format
@some
@given(example=examples)
def test_unknown_columns_are_carried_along(name: str, example: Example) -> None:
    """Columns that no format knows are in whatever is written, with their values."""
    try:
        written = FORMATS[name].write(example)
    except RowError:
        return
    unknown = {k: v for k, v in json.loads(example.original).items() if k in UNKNOWN_COLUMNS}
    assert {key: written[key] for key in unknown} == unknown


@every_format
@some
@given(example=examples)
def test_what_is_written_says_the_same_or_is_refused(name: str, example: Example) -> None:
    """A format that cannot express a row raises `RowError`; it never writes another row."""
    try:
        written = FORMATS[name].write(example)
    except RowError:
        return
    back = FORMATS[name].read(written)
    assert (back.messages, back.target) == (example.messages, example.target)
