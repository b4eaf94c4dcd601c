"""What holds for loading, whatever the bytes are."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from clear_pipeline.load import (
    Event,
    LoadedShard,
    LoadSettings,
    Problem,
    Quarantined,
    Skipped,
    discover,
)
from clear_pipeline.load.json_reader import read_json
from clear_pipeline.load.streams import lines
from loading import Row, jsonl
from strategies import alpaca_rows, json_values, texts

some = settings(max_examples=80, deadline=None)
sizes = st.integers(1, 40)
objects = st.dictionaries(texts, json_values, max_size=3)


def pieces(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


def load(data: bytes, name: str = "a.jsonl", **limits: int) -> list[Event]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(data)
        return list(discover(path).inputs[0].load(LoadSettings(**limits)))  # type: ignore[arg-type]


@some
@given(rows=st.lists(objects, max_size=5), size=sizes, indent=st.none() | st.integers(0, 2))
def test_json_rows_are_cut_out_of_any_pieces(
    rows: list[Row], size: int, indent: int | None
) -> None:
    """An array gives the rows that `json.loads` gives, wherever the bytes are parted."""
    data = json.dumps(rows, indent=indent, ensure_ascii=False).encode()

    found = list(read_json(pieces(data, size), LoadSettings(), rows="array"))

    assert [raw.record for raw in found] == rows
    assert [raw.line for raw in found] == list(range(1, len(rows) + 1))


@some
@given(
    content=st.lists(st.binary(max_size=50).map(lambda b: b.replace(b"\n", b"")), max_size=6),
    size=sizes,
    limit=st.integers(1, 40),
)
def test_lines_are_cut_out_of_any_pieces(content: list[bytes], size: int, limit: int) -> None:
    """Every line comes with its number; a longer one with as much as the limit allows."""
    data = b"\n".join(content)

    found = list(lines(pieces(data, size), limit))

    wanted = content if content and content[-1] else content[:-1]
    assert [line.number for line in found] == list(range(1, len(wanted) + 1))
    assert [line.too_long for line in found] == [len(line) > limit for line in wanted]
    assert [line.data for line in found[1:]] == [line[:limit] for line in wanted[1:]]


@some
@given(
    data=st.one_of(
        st.binary(max_size=200),
        st.text(st.sampled_from('{}[]",:\\ \n\tae1'), max_size=80).map(str.encode),
    ),
    name=st.sampled_from(["a", "a.jsonl", "a.json", "a.csv", "a.parquet"]),
)
def test_any_bytes_give_events_and_no_crash(data: bytes, name: str) -> None:
    """Whatever a file holds, loading ends, and the file is accounted for."""
    found = load(data, name)

    assert found
    skipped = [event for event in found if isinstance(event, Skipped)]
    assert len(skipped) in (0, 1)
    assert not skipped or len(found) == 1


@settings(max_examples=40, deadline=None)
@given(
    row=alpaca_rows,
    at=st.integers(0, 2000),
    damage=st.sampled_from([b"", b"\xff", b"\0", b'"', b"}", b"[" * 300, b"\\ud800"]),
)
def test_damage_costs_only_its_own_line(row: Row, at: int, damage: bytes) -> None:
    """A damaged line of JSONL: the rows around it are loaded, and it is loaded or set aside."""
    good = jsonl([{"instruction": "Q", "output": "A"}] * 2)
    line = jsonl([row]).rstrip()
    at %= len(line)

    found = load(good + line[:at] + damage + line[at:] + b"\n" + good)

    loaded = [n for e in found if isinstance(e, LoadedShard) for n in e.table["line"].to_pylist()]
    aside = [event.line for event in found if isinstance(event, Quarantined)]
    assert loaded in ([1, 2, 3, 4, 5], [1, 2, 4, 5])
    assert sorted(loaded + aside) == [1, 2, 3, 4, 5]
    assert not any(isinstance(event, Problem) for event in found)
