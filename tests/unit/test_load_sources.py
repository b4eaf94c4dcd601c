"""What DATA may be: directories with all that lies in them, tables in memory, nothing."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from clear_pipeline.claim import digested
from clear_pipeline.errors import NothingReadableError, UsageError
from clear_pipeline.load import (
    FileFacts,
    LoadSettings,
    Quarantined,
    Skipped,
    discover,
    nothing_readable,
)
from loading import ALPACA, arrow_stream, events, jsonl, of, rows


def test_a_directory_of_mixed_formats_is_one_dataset(tmp_path: Path) -> None:
    """Every file has its own format; files come in the order of their paths."""
    turns = [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]
    said = [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}]
    (tmp_path / "b.jsonl").write_bytes(jsonl([{"messages": turns}]))
    (tmp_path / "a.json").write_text(json.dumps([{"conversations": said}]))
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "c.csv").write_text("question,answer\nQ,A\n")
    (tmp_path / "sub-d.jsonl").write_bytes(jsonl(ALPACA[:1]))

    found = rows(events(tmp_path))

    assert [(row["id"], row["format"]) for row in found] == [
        ("a.json:1", "sharegpt"),
        ("b.jsonl:1", "openai"),
        ("sub/c.csv:2", "prompt-completion"),
        ("sub-d.jsonl:1", "alpaca"),
    ]


def test_what_is_no_data_is_listed(tmp_path: Path) -> None:
    """Links, special files and runs are skipped with their reason; hidden files in silence."""
    data = tmp_path / "data"
    data.mkdir()
    (data / "a.jsonl").write_bytes(jsonl(ALPACA))
    (data / ".hidden.jsonl").write_bytes(jsonl(ALPACA))
    (tmp_path / "outside.jsonl").write_bytes(jsonl(ALPACA))
    (data / "out.jsonl").symlink_to(tmp_path / "outside.jsonl")
    (data / "up").symlink_to(tmp_path, target_is_directory=True)
    (data / "again.jsonl").symlink_to(data / "a.jsonl")
    (data / "loop").symlink_to(data / "loop")
    os.mkfifo(data / "pipe")
    (data / "run" / "rows").mkdir(parents=True)
    (data / "run" / "manifest.json").write_text("{}")
    (data / "run" / "ledger.jsonl").write_bytes(jsonl(ALPACA))

    listing = discover(data)

    away = "a link out of the directory; give its target as DATA, or copy it"
    assert [item.name for item in listing.inputs] == ["a.jsonl"]
    assert sorted(listing.skipped, key=lambda s: s.path) == [
        Skipped("again.jsonl", "a link to a.jsonl, which is read itself"),
        Skipped("loop", "a link that leads nowhere"),
        Skipped("out.jsonl", away),
        Skipped("pipe", "not a regular file"),
        Skipped("run/", "a run directory"),
        Skipped("up", away),
    ]


def test_a_file_that_cannot_be_read_is_skipped_with_the_reason(tmp_path: Path) -> None:
    """One that went away, or is not ours to read, does not stop the others."""
    for name in ("a.jsonl", "b.jsonl"):
        (tmp_path / name).write_bytes(jsonl(ALPACA))
    listed = discover(tmp_path)
    (tmp_path / "a.jsonl").unlink()
    listing, digests = digested(listed)
    assert [item.name for item in listing.inputs] == list(digests) == ["b.jsonl"]
    assert listing.skipped == (Skipped("a.jsonl", "cannot be read: No such file or directory"),)


def test_a_saved_dataset_is_the_files_that_it_names(tmp_path: Path) -> None:
    """Of a folder written by `save_to_disk` only the named Arrow files are rows."""
    train = tmp_path / "train"
    train.mkdir()
    arrow_stream(train / "data-00000-of-00001.arrow", ALPACA)
    arrow_stream(train / "cache-1234.arrow", ALPACA)
    state = {"_data_files": [{"filename": "data-00000-of-00001.arrow"}], "_split": "train"}
    (train / "state.json").write_text(json.dumps(state))
    (train / "dataset_info.json").write_text(json.dumps({"features": {}}))
    (tmp_path / "dataset_dict.json").write_text(json.dumps({"splits": ["train"]}))

    listing = discover(tmp_path)

    assert [item.name for item in listing.inputs] == ["train/data-00000-of-00001.arrow"]
    assert len(listing.skipped) == 4
    assert len(rows(events(tmp_path))) == 5


def test_a_dataframe_is_data() -> None:
    """A DataFrame is read row by row; missing values are null, its index is no column."""
    frame = pd.DataFrame(
        {
            "prompt": ["Q", "R"],
            "completion": ["A", None],
            "n": pd.array([1, None], dtype="Int64"),
            "at": [pd.Timestamp("2024-01-01"), pd.NaT],
            "x": [1.5, float("nan")],
        },
        index=[10, 20],
    )

    found = events(frame)

    assert found[0] == FileFacts("memory", "prompt-completion")
    assert rows(found)[0]["id"] == "dataframe:1"
    assert json.loads(rows(found)[0]["original"]) == {
        "prompt": "Q",
        "completion": "A",
        "n": 1,
        "at": "2024-01-01T00:00:00",
        "x": 1.5,
    }
    assert [str(q) for q in of(Quarantined, found)] == [
        "dataframe:2: empty target (key 'completion')"
    ]


class Dataset:
    """As much of a Hugging Face Dataset as loading uses; `datasets` is no dependency."""

    def __init__(self, table: pa.Table) -> None:
        self.table = table

    def with_format(self, type: str) -> Dataset:  # noqa: A002
        assert type == "arrow"
        return self

    def iter(self, batch_size: int) -> Iterator[pa.Table]:
        for start in range(0, self.table.num_rows, batch_size):
            yield self.table.slice(start, batch_size)


def test_datasets_and_tables_are_data() -> None:
    """A Dataset, a DatasetDict (split by split) and a pyarrow Table are read alike."""
    table = pa.Table.from_pylist(ALPACA[:2])

    names = [
        [row["id"] for row in rows(events(data))]
        for data in (Dataset(table), {"train": Dataset(table), "test": Dataset(table)}, table)
    ]

    assert names == [
        ["dataset:1", "dataset:2"],
        ["dataset/train:1", "dataset/train:2", "dataset/test:1", "dataset/test:2"],
        ["table:1", "table:2"],
    ]


def test_digests_follow_the_content(tmp_path: Path) -> None:
    """A file's digest is that of its bytes, a table's that of its rows."""
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"abc")
    one, same, other = (
        discover(pa.Table.from_pylist(table)).inputs[0].digest()
        for table in (ALPACA, list(ALPACA), ALPACA[1:])
    )

    assert discover(path).inputs[0].digest() == (
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )
    assert one == same != other


def test_nothing_to_read_says_what_was_found_and_expected(tmp_path: Path) -> None:
    """Missing path, empty directory, foreign object: each a usage error with the way out."""
    with pytest.raises(NothingReadableError, match="no such file or directory"):
        discover(tmp_path / "absent")
    with pytest.raises(NothingReadableError, match=r"found:\n  no files\nexpected: rows as openai"):
        discover(tmp_path)
    with pytest.raises(UsageError, match="DATA is a int; expected a path, a pandas DataFrame"):
        discover(5)
    many = [Skipped(f"{n}", "empty") for n in range(7)]
    told = str(nothing_readable("d", many, []))
    assert "\n  4: empty\n  and 2 more\nexpected" in told
    assert told.endswith("\ntry: name a file or directory that holds rows")


def test_rows_that_nobody_understood_are_advised_on() -> None:
    """Where there are rows, a map of their columns may be what is missing."""
    bad = Quarantined("a.jsonl:1", "a.jsonl", 1, "missing key 'output'", "{}")

    told = str(nothing_readable("d", [], [bad]))

    assert "a.jsonl:1: missing key 'output'" in told
    assert told.endswith("try: --map prompt=COLUMN,response=COLUMN, or look at the rows above")


def test_a_name_that_is_no_text_is_shown(tmp_path: Path) -> None:
    """File names are bytes; those that are no UTF-8 still give ids that are text."""
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.jsonl"))
    path.write_bytes(jsonl(ALPACA[:1]))

    assert rows(events(tmp_path))[0]["id"] == "caf\\xe9.jsonl:1"


def test_unreadable_files_are_listed(tmp_path: Path) -> None:
    """A file that vanished or may not be read is skipped with the system's words."""
    path = tmp_path / "a.jsonl"
    path.write_bytes(jsonl(ALPACA))
    (item,) = discover(path).inputs
    path.unlink()

    assert list(item.load(LoadSettings())) == [
        Skipped("a.jsonl", "cannot be read: No such file or directory")
    ]
