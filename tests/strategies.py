"""Hypothesis strategies that the property tests share. A new format or stage extends them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st

from clear_pipeline.formats import FORMATS, Record
from clear_pipeline.schema import JSON, Example, canonical_json

Row = dict[str, Any]

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)
"""Any text that a row may hold, the empty one too."""
said = texts.filter(lambda text: bool(text.strip()))
"""Text that says something."""
json_values: st.SearchStrategy[JSON] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
UNKNOWN_COLUMNS = ("label", "split", "clean_output", "meta", "größe", "")
"""Columns that no format uses, to be carried along."""
unknown_columns = st.dictionaries(st.sampled_from(UNKNOWN_COLUMNS), json_values, max_size=3)


def with_unknown_columns(rows: st.SearchStrategy[Row]) -> st.SearchStrategy[Row]:
    """The rows with unknown columns after their own."""
    return st.builds(lambda row, more: {**row, **more}, rows, unknown_columns)


def _without_none(**columns: JSON) -> Row:
    return {name: value for name, value in columns.items() if value is not None}


alpaca_rows = with_unknown_columns(
    st.builds(
        _without_none,
        instruction=said,
        input=st.none() | texts,
        output=said,
        system=st.none() | said,
        id=st.none() | said | st.integers(),
    )
)
pair_rows = with_unknown_columns(
    st.sampled_from(
        [
            ("prompt", "completion"),
            ("prompt", "response"),
            ("instruction", "response"),
            ("question", "answer"),
            ("query", "response"),
            ("input", "output"),
        ]
    ).flatmap(lambda names: st.fixed_dictionaries({names[0]: said, names[1]: said}))
)

_arguments = st.dictionaries(said, json_values, max_size=2).map(canonical_json)


@st.composite
def _openai_turns(draw: st.DrawFn) -> list[Row]:
    """Turns that every format of conversations can express: calls are answered in order."""
    turns: list[Row] = []
    if draw(st.booleans()):
        turns.append({"role": "system", "content": draw(said)})
    made = answered = 0
    for _ in range(draw(st.integers(1, 3))):
        turns.append({"role": "user", "content": draw(said)})
        calls = [
            {
                "id": f"call_{made + number}",
                "type": "function",
                "function": {"name": draw(said), "arguments": draw(_arguments)},
            }
            for number in range(1, draw(st.integers(0, 2)) + 1)
        ]
        made += len(calls)
        if not calls:
            turns.append({"role": "assistant", "content": draw(said)})
            continue
        turns.append({"role": "assistant", "tool_calls": calls})
        if draw(st.booleans()):
            break
        for _ in calls:
            answered += 1
            turns.append(
                {"role": "tool", "content": draw(texts), "tool_call_id": f"call_{answered}"}
            )
        answered = made
        turns.append({"role": "assistant", "content": draw(said)})
    return turns


_tools = st.lists(
    st.builds(
        lambda name, parameters: {
            "type": "function",
            "function": {"name": name, "parameters": parameters},
        },
        said,
        json_values,
    ),
    min_size=1,
    max_size=2,
)
openai_rows = with_unknown_columns(
    st.builds(_without_none, messages=_openai_turns(), tools=st.none() | _tools)
)
_call_value = st.builds(
    lambda name, arguments: json.dumps({"name": name, "arguments": json.loads(arguments)}),
    said,
    _arguments,
)
_sharegpt_turns = st.builds(
    lambda system, rounds, last: [*system, *(turn for pair in rounds for turn in pair), *last],
    st.lists(st.builds(lambda s: {"from": "system", "value": s}, said), max_size=1),
    st.lists(
        st.builds(
            lambda call, result: [
                {"from": "human", "value": "go on"},
                {"from": "function_call", "value": call},
                {"from": "observation", "value": result},
            ],
            _call_value,
            texts,
        ),
        max_size=2,
    ),
    st.builds(
        lambda asked, answer, names: [
            {names[0]: names[1], names[2]: asked},
            {names[0]: names[3], names[2]: answer},
        ],
        said,
        said,
        st.sampled_from(
            [("from", "human", "value", "gpt"), ("role", "user", "content", "assistant")]
        ),
    ),
)
sharegpt_rows = with_unknown_columns(
    st.builds(_without_none, conversations=_sharegpt_turns, system=st.none() | said)
)

ROWS_BY_FORMAT: Mapping[str, st.SearchStrategy[Row]] = {
    "openai": openai_rows,
    "sharegpt": sharegpt_rows,
    "alpaca": alpaca_rows,
    "prompt-completion": pair_rows,
}
"""Source rows that can be used, by format."""


def example_of(record: Record, format_: str, *, line: int = 1) -> Example:
    """A source row as load makes it an example."""
    parsed = FORMATS[format_].read(record)
    return Example(
        id=f"rows.jsonl:{line}",
        file="rows.jsonl",
        line=line,
        format=format_,
        messages=parsed.messages,
        target=parsed.target,
        original=json.dumps(record, ensure_ascii=False),
        source_id=parsed.source_id,
        tools=parsed.tools,
        unscorable=parsed.unscorable,
    )


examples = st.one_of(
    *(
        rows.map(lambda row, name=name: example_of(row, name))  # type: ignore[misc]
        for name, rows in ROWS_BY_FORMAT.items()
    )
)
"""Usable examples of all formats."""
