"""A first line that is longer than what is read of a file at a time."""

from __future__ import annotations

import bz2
import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from clear_pipeline.load import FileFacts, Problem, Quarantined
from loading import Row, events, jsonl, of, rows

LONG = "long " * 20_000
TURNS: list[Row] = [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]
DOCUMENTS: Row = {"documents": [{"title": "T", "text": LONG}], "messages": TURNS}
PASSAGES: Row = {"passages": [{"prompt": "no", "response": LONG}], "prompt": "Q", "response": "A"}


def _short_reads(data: bytes) -> bytes:
    return gzip.compress(data[:100]) + gzip.compress(data[100:])


@pytest.mark.parametrize("pack", [bytes, _short_reads, bz2.compress])
@pytest.mark.parametrize(
    ("row", "map_", "read"),
    [
        (DOCUMENTS, None, "openai"),
        (PASSAGES, None, "prompt-completion"),
        ({"dialog": [*TURNS[:1], TURNS[1] | {"note": LONG}]}, {"messages": "dialog"}, "openai"),
    ],
)
def test_a_list_of_objects_in_a_long_first_row_is_no_list_of_rows(
    tmp_path: Path,
    pack: Callable[[bytes], bytes],
    row: Row,
    map_: dict[str, str] | None,
    read: str,
) -> None:
    """Rows of 100,000 characters are one to a line, plain and compressed, whatever is in them."""
    (tmp_path / "a.jsonl").write_bytes(pack(jsonl([row, row])))

    found = events(tmp_path, map=map_)

    assert [facts.container.partition("+")[0] for facts in of(FileFacts, found)] == ["jsonl"]
    assert [(r["format"].partition("{")[0], r["response"]) for r in rows(found)] == [
        (read, "A")
    ] * 2
    assert [r["messages"][0]["content"] for r in rows(found)] == ["Q", "Q"]


def test_a_document_on_one_long_line_is_still_cut_into_its_rows(tmp_path: Path) -> None:
    """Its only line is an object of no format, in which the rows are."""
    items = [{"prompt": LONG, "response": str(n)} for n in range(3)]
    (tmp_path / "a.json").write_text(json.dumps({"data": items}))

    found = events(tmp_path)

    assert [facts.container for facts in of(FileFacts, found)] == ["json"]
    assert [row["response"] for row in rows(found)] == ["0", "1", "2"]


def test_what_stands_before_a_break_within_the_first_bytes_is_read(tmp_path: Path) -> None:
    """The file ends in the middle of its second gzip member: the row of the first one is kept."""
    row = {"prompt": "Q", "response": "A"}
    broken = gzip.compress(jsonl([row])) + gzip.compress(jsonl([row]))[:-12]
    (tmp_path / "a.jsonl.gz").write_bytes(broken)

    found = events(tmp_path)

    assert [r["response"] for r in rows(found)][:1] == ["A"]
    assert ["damaged" in problem.reason for problem in of(Problem, found)] == [True]


@pytest.mark.parametrize("cut", ['{"prompt": "Q",', '{"prompt":', '{"messages": ['])
def test_a_first_line_that_is_cut_off_costs_one_row(tmp_path: Path, cut: str) -> None:
    """The lines after it are rows, so the file is no document that goes on over lines."""
    whole = {"prompt": "Q", "response": "A"}
    (tmp_path / "a.jsonl").write_bytes(cut.encode() + b"\n" + jsonl([whole, whole]))

    found = events(tmp_path)

    assert [row["line"] for row in rows(found)] == [2, 3]
    assert [quarantined.line for quarantined in of(Quarantined, found)] == [1]


@pytest.mark.parametrize("end", ["]}", "\n]}", "\n]\n}\n"])
@pytest.mark.parametrize("begin", ['{"data": [', '{"data": [\n', '{"v": 1,\n"data": ['])
@pytest.mark.parametrize("count", [2, 3])
def test_a_document_over_lines_is_cut_into_its_rows(
    tmp_path: Path, begin: str, end: str, count: int
) -> None:
    """However its lines are broken, and though most of them begin with a row."""
    items = [json.dumps({"prompt": "Q", "response": str(n)}) for n in range(count)]
    (tmp_path / "a.json").write_text(begin + ",\n".join(items) + end)

    found = events(tmp_path)

    assert [row["response"] for row in rows(found)] == [str(n) for n in range(count)]
