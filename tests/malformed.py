"""Kinds of malformed input, and what each gets; `python tests/malformed.py` prints the table.

Every bad row stands between two good ones, so that a case also shows that its neighbours live.
"""

from __future__ import annotations

import gzip
import io
import json
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from clear_pipeline.load import (
    LoadedShard,
    LoadSettings,
    Problem,
    Quarantined,
    Skipped,
    discover,
)

SETTINGS = LoadSettings(max_line_bytes=200_000)
FIRST = b'{"instruction": "One?", "output": "1"}'
LAST = b'{"instruction": "Two?", "output": "2"}'
TURNS_FIRST = b'{"messages": [{"role":"user","content":"One?"},{"role":"assistant","content":"1"}]}'


@dataclass(frozen=True)
class Case:
    """One kind of malformed input.

    Attributes:
        what: In a few words.
        content: The whole file.
        outcome: `row` (quarantined), `file` (skipped) or `problem` (listed; rows before live).
        reason: What the user reads; Python's and Arrow's own words may follow it.
        file: Its name.
        lines: Where the usable rows are.
    """

    what: str
    content: bytes
    outcome: str
    reason: str
    file: str = "rows.jsonl"
    lines: tuple[int, ...] = (1, 3)


@dataclass
class Got:
    """What loading a case gave."""

    lines: list[int] = field(default_factory=list)
    reasons: list[tuple[str, str]] = field(default_factory=list)


def row(what: str, data: bytes, reason: str) -> Case:
    """A bad Alpaca row between two good ones in JSONL."""
    return Case(what, b"\n".join((FIRST, data, LAST, b"")), "row", reason)


def turns(what: str, conversation: bytes, reason: str) -> Case:
    """A bad chat row between two good ones in JSONL."""
    data = b'{"messages": ' + conversation + b"}"
    return Case(what, b"\n".join((TURNS_FIRST, data, TURNS_FIRST)), "row", reason)


def csv(what: str, record: bytes, reason: str) -> Case:
    """A bad row between two good ones in CSV; rows start at line 2."""
    content = b"\n".join((b"prompt,completion", b"One?,1", record, b"Two?,2", b""))
    return Case(what, content, "row", reason, "rows.csv", (2, 4))


def foreign(what: str, content: bytes, reason: str, *, file: str = "file") -> Case:
    """A file without rows."""
    return Case(what, content, "file", reason, file, ())


def parquet(columns: dict[str, pa.Array]) -> bytes:
    """A Parquet file."""
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer)
    return buffer.getvalue()


def _stray_offset() -> bytes:
    """An Arrow stream in which a text begins far outside of the data."""
    table = pa.table({"prompt": ["One?", "Two?"], "completion": ["1", "2"]})
    buffer = io.BytesIO()
    with pa.ipc.new_stream(buffer, table.schema) as writer:
        writer.write_table(table)
    offsets = b"".join(n.to_bytes(4, "little") for n in (0, 4, 8))
    return buffer.getvalue().replace(offsets, offsets[:4] + b"\0\0\0\x70" + offsets[8:])


def _invalid_utf8() -> pa.Array:
    offsets = pa.py_buffer(b"\0\0\0\0\1\0\0\0\3\0\0\0\4\0\0\0")
    return pa.Array.from_buffers(pa.string(), 3, [None, offsets, pa.py_buffer(b"a\xff\xfeb")])


_PARQUET = parquet({"prompt": pa.array(["One?"] * 3), "completion": pa.array(["1"] * 3)})
_MANY = b"".join(FIRST + b"\n" for _ in range(3))
_LONG = b'{"instruction": "' + b"long " * 50_000 + b'", "output": "2"}'
_BAD_ANSWER = b'{"instruction": "Bad?", "output": %s}'

CASES = (
    row("broken JSON", b'{"instruction": "Bad?", "output": }', "broken JSON: Expecting value"),
    row(
        "a row that is cut off",
        b'{"instruction": "Bad?", "outp',
        "broken JSON: Unterminated string",
    ),
    row("two values on a line", LAST + b" {}", "broken JSON: Extra data at character 40"),
    row("no object", b'["Bad?", "2"]', "the row is a list, expected an object"),
    row(
        "no target",
        b'{"instruction": "Bad?", "input": ""}',
        "missing key 'output' (found instruction, input)",
    ),
    row("empty target", _BAD_ANSWER % b'""', "empty target (key 'output')"),
    row("target of white space", _BAD_ANSWER % b'" \\n\\u00a0"', "empty target (key 'output')"),
    row("null as target", _BAD_ANSWER % b"null", "empty target (key 'output')"),
    row("number as target", _BAD_ANSWER % b"2", "key 'output' is a number, expected text"),
    row("list as target", _BAD_ANSWER % b'["2"]', "key 'output' is a list, expected text"),
    row("empty prompt", b'{"instruction": "", "output": "2"}', "empty prompt (key 'instruction')"),
    row(
        "row of another format",
        TURNS_FIRST,
        "missing key 'instruction' (found messages); try format: openai",
    ),
    row(
        "key twice",
        b'{"instruction": "a", "output": "2", "output": "3"}',
        "key 'output' stands twice in one object",
    ),
    row("NaN", b'{"instruction": "Bad?", "output": "2", "score": NaN}', "NaN is not JSON"),
    row(
        "number out of range",
        b'{"instruction": "a", "output": "2", "n": 1e999}',
        "number 1e999 is out of range",
    ),
    row("number of 5,000 digits", b'{"n": ' + b"1" * 5000 + b"}", "a number has too many digits"),
    row(
        "invalid UTF-8",
        b'{"instruction": "caf\xe9", "output": "2"}',
        "invalid UTF-8 at byte 21 of the row",
    ),
    row("NUL as a byte", b'{"instruction": "a\0b", "output": "2"}', "NUL character"),
    row("NUL as an escape", b'{"instruction": "a\\u0000b", "output": "2"}', "NUL character"),
    row("lone surrogate", b'{"instruction": "\\ud83d", "output": "2"}', "lone surrogate"),
    row("lone surrogate, unknown column", FIRST[:-1] + b', "x": ["\\udc00"]}', "lone surrogate"),
    row(
        "100,000 brackets",
        b'{"x": ' + b"[" * 50_000 + b"]" * 50_000 + b"}",
        "nested deeper than 100 levels",
    ),
    row("a line over the limit", _LONG, "longer than the limit of 200000 bytes"),
    turns(
        "unknown role",
        b'[{"role": "narrator", "content": "a"}]',
        "turn 1: unknown role 'narrator'; known: system, developer",
    ),
    turns("turn without a role", b'[{"content": "a"}]', "turn 1: role is null (found content)"),
    turns("turn that is text", b'["a", "b"]', "turn 1 is text, expected an object"),
    turns(
        "turns that are no list",
        b'{"role": "user"}',
        "key 'messages' is an object, expected a list of turns",
    ),
    turns("no turns", b"[]", "no assistant turn"),
    turns("no answer", b'[{"role": "user", "content": "Bad?"}]', "no assistant turn"),
    turns(
        "last turn not the assistant's",
        TURNS_FIRST[13:-2] + b',{"role":"user","content":"Thanks"}]',
        "the last turn is user's; it must be assistant's",
    ),
    turns(
        "broken tool call",
        b'[{"role":"user","content":"a"},{"role":"assistant","tool_calls":[{"type":"custom"},1]}]',
        "turn 2: a tool call is a number, expected an object",
    ),
    turns(
        "tool call of nothing",
        b'[{"role":"user","content":"a"},{"role":"assistant","tool_calls":[{"function":{}}]}]',
        "turn 2: a tool call names no function",
    ),
    turns(
        "weight out of range",
        TURNS_FIRST[13:-3] + b',"weight":1' + b"0" * 400 + b"}]",
        "turn 2: weight is out of range",
    ),
    csv("CSV: fields too few", b"Bad?", "broken CSV: fields in the row 1, in the header 2"),
    csv("CSV: fields too many", b"Bad?,2,3", "broken CSV: fields in the row 3, in the header 2"),
    csv("CSV: text after a quote", b'"Bad?" or,2', "broken CSV: ',' expected after"),
    csv("CSV: quote that never closes", b'"Bad?,2', "broken CSV: unexpected end of data"),
    csv("CSV: invalid UTF-8", b"caf\xe9,2", "invalid UTF-8 at byte 4 of the row"),
    Case(
        "broken item of a JSON array",
        b"[" + FIRST + b', {"instruction": "Bad?" "output"}, ' + LAST + b"]",
        "row",
        "broken JSON: Expecting ',' delimiter",
        "rows.json",
    ),
    Case(
        "rows behind a JSON array",
        b"[" + FIRST + b"]\n" + LAST + b'\n{"instruction": "Bad?"}\n' + LAST,
        "row",
        "missing key 'output' (found instruction)",
        "rows.json",
        (1, 2, 4),
    ),
    Case(
        "JSON array that is cut off",
        b"[" + FIRST + b"," + LAST + b', {"instru',
        "problem",
        "the JSON does not end after row 3; is the file cut off?",
        "rows.json",
        (1, 2),
    ),
    Case(
        "gzip that breaks off",
        gzip.compress(_MANY, mtime=0)[:-8],
        "problem",
        "the compressed data is damaged: Compressed file ended before the end-of-stream",
        "rows.jsonl.gz",
        (1, 2, 3),
    ),
    Case(
        "Parquet: invalid UTF-8 in a value",
        parquet({"prompt": _invalid_utf8(), "completion": pa.array(["1", "2", "3"])}),
        "row",
        "invalid UTF-8",
        "rows.parquet",
    ),
    foreign(
        "Parquet without its end", _PARQUET[:-20], "cannot be read as Parquet", file="rows.parquet"
    ),
    foreign("Parquet by name only", b"PAR1 but not really", "cannot be read as Parquet"),
    foreign("Arrow: offset outside of the data", _stray_offset(), "cannot be read as Arrow"),
    foreign("empty file", b"", "empty"),
    foreign("file of blank lines", b"\n \n\n", "empty"),
    foreign("empty array", b"[]", "no rows", file="rows.json"),
    foreign("image", b"\x89PNG\r\n\x1a\n" + bytes(20), "not a dataset: a PNG image"),
    foreign("ZIP or XLSX", b"PK\x03\x04" + bytes(20), "not a dataset: a ZIP archive (or XLSX)"),
    foreign("pickle", b"\x80\x04\x95" + bytes(9), "not a dataset: a Python pickle"),
    foreign(
        "UTF-16", FIRST.decode().encode("utf-16"), "not a dataset: UTF-16 text; convert it to UTF-8"
    ),
    foreign("other binary data", b"\x01\x02\0\x03" * 9, "not a dataset: binary data"),
    foreign(
        "prose",
        b"# About\n\nThese rows.\n",
        "not a dataset: text that is neither JSON nor CSV",
        file="a.md",
    ),
    foreign(
        "program text",
        b"{% if a %}\n{{ b }}\n",
        "not a dataset: no line or item of it is a row",
        file="a.j2",
    ),
    foreign(
        "unknown columns",
        b'{"text": "a", "n": 1}\n',
        "no known format (found text, n; expected openai",
    ),
    foreign(
        "CSV of unknown columns",
        b"a,b\n1,2\n",
        "no known format (found a, b; expected openai",
        file="a.csv",
    ),
    foreign(
        "CSV column twice", b"prompt,completion,prompt\n", "the header names column 'prompt' twice"
    ),
    foreign(
        "settings",
        json.dumps({"lr": 1e-5, "name": "x"}).encode(),
        "no known format (found lr, name; expected openai",
    ),
)


def load(case: Case, folder: Path) -> Got:
    """Load the case's file from a folder."""
    path = folder / case.file
    path.write_bytes(case.content)
    got = Got()
    for event in discover(path).inputs[0].load(SETTINGS):
        match event:
            case LoadedShard(table=table):
                got.lines += table["line"].to_pylist()
            case Quarantined(reason=reason):
                got.reasons.append(("row", reason))
            case Skipped(reason=reason):
                got.reasons.append(("file", reason))
            case Problem(reason=reason):
                got.reasons.append(("problem", reason))
    return got


def markdown() -> str:
    """The table as the documentation has it."""
    words = {"row": "row quarantined", "file": "file skipped", "problem": "rows before it kept"}
    rows = ["| malformed input | what it gets | reason |", "|---|---|---|"]
    rows += [f"| {case.what} | {words[case.outcome]} | `{case.reason}` |" for case in CASES]
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    print(markdown(), end="")  # noqa: T201
