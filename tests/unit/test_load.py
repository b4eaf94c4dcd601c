"""Loading files and tables: containers, detection, ids, shards, limits."""

from __future__ import annotations

import bz2
import datetime as dt
import gzip
import hashlib
import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from clear_pipeline.load import (
    FileFacts,
    LoadedShard,
    LoadSettings,
    Problem,
    Quarantined,
    discover,
)
from clear_pipeline.schema import ROWS
from loading import ALPACA, Row, arrow_stream, events, jsonl, of, rows


def _parquet(path: Path, table: list[Row]) -> None:
    pq.write_table(pa.Table.from_pylist(table), path)


def _arrow_file(path: Path, table: list[Row]) -> None:
    data = pa.Table.from_pylist(table)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, data.schema) as writer:
        writer.write_table(data)


def _csv(delimiter: str) -> Callable[[Path, list[Row]], None]:
    def write(path: Path, table: list[Row]) -> None:
        pd.DataFrame(table).to_csv(path, index=False, sep=delimiter)

    return write


def _bytes(encode: Callable[[list[Row]], bytes]) -> Callable[[Path, list[Row]], None]:
    def write(path: Path, table: list[Row]) -> None:
        path.write_bytes(encode(table))

    return write


def _zstd(data: bytes) -> bytes:
    packed: bytes = pa.compress(data, "zstd", asbytes=True)
    return packed


def _members(table: list[Row]) -> bytes:
    return gzip.compress(jsonl(table[:2])) + gzip.compress(jsonl(table[2:]))


def _wrapped(table: list[Row]) -> bytes:
    return json.dumps({"version": "1", "tags": ["a"], "data": table}).encode()


def _splits(table: list[Row]) -> bytes:
    splits = {"train": table[:3], "meta": {"x": [{}]}, "test": table[3:]}
    return json.dumps(splits, indent=1).encode()


def _documents(table: list[Row]) -> bytes:
    return "\n".join(json.dumps(row, indent=1) for row in table).encode()


CONTAINERS: dict[str, tuple[str, Callable[[Path, list[Row]], None]]] = {
    "JSONL": ("jsonl", _bytes(jsonl)),
    "JSONL with CRLF": ("jsonl", _bytes(lambda t: jsonl(t).replace(b"\n", b"\r\n"))),
    "JSONL with a byte-order mark": ("jsonl", _bytes(lambda t: b"\xef\xbb\xbf" + jsonl(t))),
    "JSONL in gzip": ("jsonl+gzip", _bytes(lambda t: gzip.compress(jsonl(t)))),
    "JSONL in two gzip members": ("jsonl+gzip", _bytes(_members)),
    "JSONL in bz2": ("jsonl+bz2", _bytes(lambda t: bz2.compress(jsonl(t)))),
    "JSONL in zstd": ("jsonl+zstd", _bytes(lambda t: _zstd(jsonl(t)))),
    "JSON array": ("json", _bytes(lambda t: json.dumps(t).encode())),
    "JSON array, indented": ("json", _bytes(lambda t: json.dumps(t, indent=2).encode())),
    "JSON object around a list": ("json", _bytes(_wrapped)),
    "JSON object around lists, indented": ("json", _bytes(_splits)),
    "JSON objects, indented": ("json", _bytes(_documents)),
    "JSON array in gzip": ("json+gzip", _bytes(lambda t: gzip.compress(json.dumps(t).encode()))),
    "CSV": ("csv", _csv(",")),
    "CSV with tabs": ("csv", _csv("\t")),
    "CSV with semicolons": ("csv", _csv(";")),
    "Parquet": ("parquet", _parquet),
    "Arrow stream": ("arrow", arrow_stream),
    "Arrow file": ("arrow", _arrow_file),
}


@pytest.mark.parametrize("container", CONTAINERS)
def test_every_container_is_known_by_its_content(container: str, tmp_path: Path) -> None:
    """The same rows come out of every container, whatever the file is called."""
    expected, write = CONTAINERS[container]
    path = tmp_path / "data.bin"
    write(path, ALPACA)

    found = events(path)

    assert found[0] == FileFacts(expected, "alpaca")
    assert [json.loads(row["original"]) for row in rows(found)] == ALPACA
    assert [row["response"] for row in rows(found)] == ["0", "1", "2", "3", "4"]


def test_rows_have_the_schema_and_their_ids(tmp_path: Path) -> None:
    """Shards are tables of `ROWS`; an id is the relative path and the physical line."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b.jsonl").write_bytes(
        b"\n" + jsonl(ALPACA[:1]) + b"\n\n" + jsonl(ALPACA[1:2])
    )

    found = events(tmp_path)

    assert of(LoadedShard, found)[0].table.schema == ROWS
    assert [(row["id"], row["line"]) for row in rows(found)] == [
        ("a/b.jsonl:2", 2),
        ("a/b.jsonl:5", 5),
    ]


def test_csv_rows_are_named_by_their_first_line(tmp_path: Path) -> None:
    """A quoted field may span lines; the row's line is the first of them."""
    (tmp_path / "a.csv").write_bytes(b'prompt,completion\n"a\nb","1\n\n2"\n\nc,3\n')

    found = rows(events(tmp_path))

    assert [(row["line"], row["response"]) for row in found] == [(2, "1\n\n2"), (7, "3")]


def test_the_most_frequent_format_of_the_first_rows_decides(tmp_path: Path) -> None:
    """A row of another format is quarantined and told which format it looks like."""
    odd: Row = {"messages": []}
    (tmp_path / "a.jsonl").write_bytes(jsonl([odd, *ALPACA]))

    found = events(tmp_path)

    (quarantined,) = of(Quarantined, found)
    assert len(rows(found)) == 5
    assert str(quarantined) == (
        "a.jsonl:1: missing key 'instruction' (found messages); try format: openai"
    )


def test_the_format_can_be_given_by_path(tmp_path: Path) -> None:
    """`formats` decides for the files that a pattern names, `format` for the others."""
    row = {"instruction": "Q", "output": "A"}
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "a.jsonl").write_bytes(jsonl([row]))
    (tmp_path / "b.jsonl").write_bytes(jsonl([row]))

    found = rows(events(tmp_path, format="alpaca", formats={"x/*": "prompt-completion"}))

    assert [row["format"] for row in found] == ["alpaca", "prompt-completion"]


def test_a_column_map_is_for_the_files_that_have_its_columns(tmp_path: Path) -> None:
    """Mapped columns are read and remembered; a file of a known format is read as usual."""
    (tmp_path / "a.csv").write_text("frage,antwort\nQ,A\n")
    (tmp_path / "b.jsonl").write_bytes(jsonl(ALPACA[:1]))

    found = rows(events(tmp_path, map={"prompt": "frage", "response": "antwort"}))

    assert [row["format"] for row in found] == [
        'prompt-completion{"prompt":"frage","response":"antwort"}',
        "alpaca",
    ]
    assert found[0]["response"] == "A"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"format": "dolly"}, "no format 'dolly'; there are openai"),
        ({"formats": {"*": "dolly"}}, "no format 'dolly'"),
        (
            {"map": {"prompt": "a", "messages": "b"}},
            "fit no format. Fields by format: openai",
        ),
        ({"max_depth": 1000}, "less than or equal to 200"),
    ],
)
def test_wrong_settings_say_what_there_is(settings: dict[str, Any], said: str) -> None:
    """A setting that cannot work is refused before anything is read."""
    with pytest.raises(ValidationError, match=said):
        LoadSettings(**settings)


def test_shards_are_cut_by_rows_and_keyed_by_content(tmp_path: Path) -> None:
    """Shards never span files, and a change in one place moves no other shard's key."""
    path = tmp_path / "a.jsonl"
    path.write_bytes(jsonl(ALPACA))
    before = of(LoadedShard, events(tmp_path, shard_rows=2))
    (tmp_path / "0.jsonl").write_bytes(jsonl(ALPACA[:1]))
    path.write_bytes(jsonl([*ALPACA[:4], {"instruction": "new", "output": "x"}]))

    after = of(LoadedShard, events(tmp_path, shard_rows=2))

    assert [shard.table.num_rows for shard in after] == [1, 2, 2, 1]
    assert [s.key for s in after[1:3]] == [s.key for s in before[:2]]
    assert after[3].key != before[2].key
    assert len({shard.key for shard in after}) == 4


def test_long_rows_make_small_shards(tmp_path: Path) -> None:
    """A shard is closed before its rows take much memory, whatever `shard_rows` says."""
    row = {"prompt": "Q", "completion": "x" * 1_000_000}
    (tmp_path / "a.jsonl").write_bytes(jsonl([row] * 6))

    found = events(tmp_path)

    assert [shard.table.num_rows for shard in of(LoadedShard, found)] == [5, 1]


def test_a_quote_that_never_closes_costs_one_row(tmp_path: Path) -> None:
    """Beyond the limit an open quote is given up, and the lines after its own are rows again."""
    lines = ["prompt,completion", '"open,1', *(f"{n},x" for n in range(50))]
    (tmp_path / "a.csv").write_text("\n".join(lines))

    found = events(tmp_path, max_line_bytes=100)

    (quarantined,) = of(Quarantined, found)
    assert (quarantined.line, quarantined.text) == (2, '"open,1')
    assert quarantined.reason == "broken CSV: a quoted field does not end"
    assert len(rows(found)) == 50


def test_a_limit_counts_good_and_bad_rows(tmp_path: Path) -> None:
    """`limit` is of source rows, so that ten rows are ten fates."""
    (tmp_path / "a.jsonl").write_bytes(b"{bad\n" + jsonl(ALPACA))
    (item,) = discover(tmp_path).inputs

    found = list(item.load(LoadSettings(), limit=3))

    assert len(of(Quarantined, found)) == 1
    assert len(rows(found)) == 2


def test_quarantined_text_is_cut(tmp_path: Path) -> None:
    """Raw text is kept up to the stated length; bytes that are no text are shown."""
    (tmp_path / "a.jsonl").write_bytes(b'{"a": "\xff' + b"x" * 100 + b"\n" + jsonl(ALPACA))

    (quarantined,) = of(Quarantined, events(tmp_path, quarantine_text_chars=12))

    assert quarantined.text == '{"a": "\\xffx'


@pytest.mark.parametrize("codec", ["gzip", "bz2", "zstd"])
def test_a_break_in_compressed_data_keeps_the_rows_before(codec: str, tmp_path: Path) -> None:
    """What was decompressed before the damage is read, and the damage listed."""
    text = (hashlib.sha512(str(n).encode()).hexdigest() for n in range(8000))
    many = jsonl([{"instruction": "Q", "output": answer} for answer in text])
    packers: dict[str, Callable[[bytes], bytes]] = {
        "gzip": lambda data: gzip.compress(data, 1),
        "bz2": bz2.compress,
        "zstd": _zstd,
    }
    data = packers[codec](many)
    (tmp_path / "a.jsonl").write_bytes(data[: 5 * len(data) // 6])

    found = events(tmp_path)

    (problem,) = of(Problem, found)
    assert problem.reason.startswith("the compressed data is damaged")
    lines = [row["line"] for row in rows(found)]
    assert lines == list(range(1, len(lines) + 1))
    assert len(lines) > 1000


def test_arrow_values_become_honest_json(tmp_path: Path) -> None:
    """Values that JSON does not know are carried along as documented."""
    table: Row = {
        "prompt": "Q",
        "completion": "A",
        "day": dt.date(2024, 2, 29),
        "at": dt.datetime(2024, 2, 29, 12, tzinfo=dt.UTC),
        "took": dt.timedelta(minutes=1),
        "price": Decimal("1.10"),
        "raw": b"\x00\xff",
        "nan": float("nan"),
        "inf": float("-inf"),
        "nested": {"list": [1, None], "none": None},
    }
    _parquet(tmp_path / "a.parquet", [table])

    (row,) = rows(events(tmp_path))

    assert json.loads(row["original"]) == {
        "prompt": "Q",
        "completion": "A",
        "day": "2024-02-29",
        "at": "2024-02-29T12:00:00+00:00",
        "took": 60.0,
        "price": "1.10",
        "raw": "base64:AP8=",
        "nan": None,
        "inf": "-inf",
        "nested": {"list": [1, None], "none": None},
    }


def test_parquet_turns_with_nulls_are_read_as_without(tmp_path: Path) -> None:
    """Arrow fills the fields that a turn does not have with null: they count as absent."""
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    turns: list[Row] = [
        {"role": "user", "content": "Q"},
        {"role": "assistant", "tool_calls": [call]},
    ]
    _parquet(tmp_path / "a.parquet", [{"messages": turns}])

    (row,) = rows(events(tmp_path))

    assert row["messages"][0]["tool_calls"] is None
    assert json.loads(row["target"]["tool_calls"]) == [call]
