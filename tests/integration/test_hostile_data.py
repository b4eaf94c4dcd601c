"""Bombs, endless lines and names that look like paths: bounded, named, and nothing gets out."""

from __future__ import annotations

import bz2
import gzip
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from clear_pipeline.config import build_config
from clear_pipeline.load import (
    LoadedShard,
    LoadSettings,
    Problem,
    Quarantined,
    Skipped,
    discover,
)
from clear_pipeline.load.streams import FREE_BYTES
from clear_pipeline.pipeline import Pipeline
from loading import ALPACA, events, jsonl, of, rows

ROOT = Path(__file__).parents[2]
BOMB = "decompresses to more than 1000 times its size (load.max_expansion)"


def zstd(data: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(data)
    return bytes(sink.getvalue())


CODECS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress, "bz2": bz2.compress, "zstd": zstd,
}  # fmt: skip


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("before", [b"", jsonl(ALPACA)], ids=["alone", "after rows"])
def test_decompression_bomb_is_stopped(tmp_path: Path, codec: str, before: bytes) -> None:
    """A small file that becomes ever more: skipped with the reason; rows before it are kept."""
    path = tmp_path / "rows.jsonl"
    path.write_bytes(CODECS[codec](before + b'{"instruction": "' + b" " * (FREE_BYTES + 1000)))
    found = events(path)
    said = of(Problem, found) if before else of(Skipped, found)
    assert [event.reason.partition(";")[0] for event in said] == [BOMB]
    assert len(rows(found)) == (5 if before else 0)


def test_what_compresses_well_is_no_bomb(tmp_path: Path) -> None:
    """Equal rows below the free size, and a higher bound for those who want it."""
    small = jsonl(ALPACA[:1]) * 20_000
    (tmp_path / "a.jsonl").write_bytes(gzip.compress(small))
    assert (tmp_path / "a.jsonl").stat().st_size * 100 < len(small)
    assert len(rows(events(tmp_path / "a.jsonl"))) == 20_000
    large = b"\n".join([small[:37], b" " * (FREE_BYTES + 1000), small[:37]])
    (tmp_path / "b.jsonl").write_bytes(gzip.compress(large))
    assert BOMB in of(Problem, events(tmp_path / "b.jsonl"))[0].reason
    assert of(Problem, events(tmp_path / "b.jsonl", max_expansion=100_000)) == []


def test_parquet_bomb_is_refused_before_a_page_is_read(tmp_path: Path) -> None:
    """By its own account: 65 MiB of equal letters in a few KiB."""
    path = tmp_path / "rows.parquet"
    table = pa.table({"prompt": ["a" * (FREE_BYTES + 1000)], "completion": ["b"]})
    pq.write_table(table, path, compression="zstd")
    (skipped,) = of(Skipped, events(path))
    assert BOMB in skipped.reason


def test_a_value_that_a_dictionary_repeats_is_a_bomb_too(tmp_path: Path) -> None:
    """A quarter of a MiB in two thousand rows are 500 MiB out of a few KB: it is not read."""
    path = tmp_path / "rows.parquet"
    large = pa.DictionaryArray.from_arrays([0] * 2000, ["a" * (1 << 18)])
    table = pa.table({"prompt": large, "completion": ["b"] * 2000})
    pq.write_table(table, path, compression="zstd")
    assert path.stat().st_size < FREE_BYTES // 1000
    (skipped,) = of(Skipped, events(path))
    assert BOMB in skipped.reason


def test_texts_that_stand_for_many_are_measured_row_by_row(tmp_path: Path) -> None:
    """A text of 1.5 MiB that sixty rows begin with: of those within 64 MiB, 42, each is told."""
    path = tmp_path / "rows.parquet"
    table = pa.table({"prompt": ["a" * (3 << 19)] * 60, "completion": ["b"] * 60})
    encoding = {"prompt": "DELTA_BYTE_ARRAY"}
    pq.write_table(table, path, compression="zstd", use_dictionary=False, column_encoding=encoding)
    found = events(path)
    (problem,) = of(Problem, found)
    assert problem.reason.startswith(f"row group 1: {BOMB}")
    told = [row.line for row in of(Quarantined, found)]
    assert told == list(range(1, len(told) + 1))
    assert 0 < len(told) <= 42


@pytest.mark.parametrize("lists", [False, True], ids=["column", "lists"])
def test_a_long_text_among_short_ones_is_no_bomb(tmp_path: Path, lists: bool) -> None:  # noqa: FBT001
    """One of 100 KB in a dictionary beside a thousand others could be 100 MB, but is not."""
    path = tmp_path / "rows.parquet"
    prompts = [None if n % 7 == 3 else f"{n % 100}?" for n in range(1000)]
    prompts[0] = "a" * 100_000
    columns = [{"prompt": text, "completion": "b"} for text in prompts]
    turns = [
        [{"role": "user", "content": text}, {"role": "assistant", "content": "b"}]
        for text in prompts
    ]
    table = [{"messages": turn} for turn in turns] if lists else columns
    pq.write_table(pa.Table.from_pylist(table), path, compression="zstd", row_group_size=600)
    assert path.stat().st_size < FREE_BYTES // 1000
    found = events(path)
    assert [json.loads(row["original"]) for row in rows(found)] == [
        row for row, text in zip(table, prompts, strict=True) if text
    ]
    assert len(of(Quarantined, found)) == prompts.count(None)


def test_small_pages_lose_no_row(tmp_path: Path) -> None:
    """Where a page ends within a conversation, Arrow may write one without a value behind it."""
    path = tmp_path / "rows.parquet"
    table = [
        {
            "messages": [
                {"role": "user", "content": f"{n % 7}?"},
                {"role": "assistant", "content": "b"},
            ]
        }
        for n in range(300)
    ]
    pq.write_table(pa.Table.from_pylist(table), path, data_page_size=100, write_batch_size=1)
    assert [json.loads(row["original"]) for row in rows(events(path))] == table


FLIPS = """
import sys
from pathlib import Path
from clear_pipeline.load import LoadSettings, discover

path = Path(sys.argv[1])
whole = path.read_bytes()
for at in range(len(whole) - 8 - int.from_bytes(whole[-8:-4], "little"), len(whole)):
    for changed in (whole[at] ^ 1, whole[at] ^ 0x40):
        path.write_bytes(whole[:at] + bytes([changed]) + whole[at + 1 :])
        assert list(discover(path).inputs[0].load(LoadSettings())), at
print("done")
"""


def test_no_change_to_the_footer_of_a_parquet_file_ends_the_process(tmp_path: Path) -> None:
    """Whatever byte of it is another, rows or a reason come; Arrow itself may abort."""
    path = tmp_path / "rows.parquet"
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    pq.write_table(pa.table({"messages": [turns] * 9}), path, store_schema=False)
    command = [sys.executable, "-c", FLIPS, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.stdout == "done\n", done.stderr[:2000]


def arrow(path: Path, *batches: pa.RecordBatch, codec: str | None = None) -> None:
    options = pa.ipc.IpcWriteOptions(compression=codec)
    with pa.ipc.new_file(str(path), batches[0].schema, options=options) as writer:
        for batch in batches:
            writer.write_batch(batch)


def pairs(prompts: pa.Array) -> pa.RecordBatch:
    return pa.record_batch({"prompt": prompts, "completion": ["b"] * len(prompts)})


@pytest.mark.parametrize("codec", ["zstd", "lz4"])
def test_arrow_batches_are_looked_at_before_they_are_decompressed(
    tmp_path: Path, codec: str
) -> None:
    """65 MiB of equal letters in the second batch: the rows of the first are kept."""
    path = tmp_path / "rows.arrow"
    bomb = pairs(pa.array(["a" * (1 << 20)] * 65))
    arrow(path, pairs(pa.array(["One?", "Two?"])), bomb, codec=codec)
    assert path.stat().st_size < 65 << 13
    found = events(path, max_expansion=1)
    (problem,) = of(Problem, found)
    assert problem.reason.startswith("record batch 2: decompresses to more than 1 times its size")
    assert [row["line"] for row in rows(found)] == [1, 2]


def test_a_text_that_an_arrow_dictionary_repeats_is_a_bomb_too(tmp_path: Path) -> None:
    """64 KiB in two thousand rows are 125 MiB out of 80 KB."""
    path = tmp_path / "rows.arrow"
    indices = pa.array([0] * 2000, pa.int8())
    arrow(path, pairs(pa.DictionaryArray.from_arrays(indices, ["a" * (1 << 16)])))
    (skipped,) = of(Skipped, events(path))
    assert skipped.reason.startswith(f"record batch 1: {BOMB}")


def test_a_giant_arrow_batch_is_not_taken_into_memory(tmp_path: Path) -> None:
    """Of 96 MiB in one batch only the rows that are looked at are copied out of the file."""
    path = tmp_path / "rows.arrow"
    arrow(path, pairs(pa.array([f"{n:04}" * (1 << 15) for n in range(768)])))
    before = pa.total_allocated_bytes()
    most = count = 0
    for event in discover(path).inputs[0].load(LoadSettings()):
        count += event.table.num_rows if isinstance(event, LoadedShard) else 0
        most = max(most, pa.total_allocated_bytes() - before)
    assert count == 768
    assert most < 32 << 20


def test_an_arrow_file_with_fewer_batches_than_its_index_says_so(tmp_path: Path) -> None:
    """No row goes missing in silence: those that are there are kept, and the file is named."""
    path = tmp_path / "rows.arrow"
    arrow(path, pairs(pa.array(["One?"])), pairs(pa.array(["Two?"])))
    data = bytearray(path.read_bytes())
    begin = data.index(b"\xff\xff\xff\xff", data.index(b"One?"))
    data[begin + 4 : begin + 8] = bytes(4)  # a message of no length ends the stream
    path.write_bytes(data)
    found = events(path)
    assert [row["line"] for row in rows(found)] == [1]
    (problem,) = of(Problem, found)
    assert problem.reason == "cannot be read as Arrow: of 2 record batches 1 are there"


@pytest.mark.parametrize("kind", ["jsonl", "jsonl.gz", "json"])
def test_a_line_of_any_length_takes_bounded_memory(kind: str) -> None:
    """192 MiB in one row: set aside, its neighbours read, and the memory grows by far less."""
    command = [sys.executable, "-m", "benchmarks.hostile_input", "--mib", "192", "--kind", kind]
    done = subprocess.run(
        command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=600
    )
    told = json.loads(done.stdout)
    assert told["rows"] == 2
    assert told["reasons"] == ["longer than the limit of 1048576 bytes (load.max_line_bytes)"]
    assert told["grew_mib"] < 64


@pytest.mark.parametrize("data", [b"[" * 100_000, b'{"a":' * 100_000, b"[[{" * 50_000 + b"}]]" * 9])
@pytest.mark.parametrize("name", ["a.json", "a.jsonl", "a"])
def test_brackets_without_end(tmp_path: Path, data: bytes, name: str) -> None:
    """A hundred thousand of them end in a reason, not in a stack that overflows."""
    (tmp_path / name).write_bytes(data)
    assert rows(events(tmp_path / name)) == []


NAMES = (
    "../up.jsonl", "a..%2f..%2fetc%2fpasswd.jsonl", "-rf.jsonl", "$(touch owned).jsonl",
    "a; touch owned.jsonl", "=cmd|' C'!A0.jsonl", "a\nb.jsonl", "\u202egpj.jsonl", "C:\\a.jsonl",
)  # fmt: skip


def test_names_and_ids_that_look_like_paths_stay_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All rows are in the ledger under their file's name; nothing is written outside of the run."""
    data, out, away = tmp_path / "data", tmp_path / "run", tmp_path / "away"
    (data / "sub").mkdir(parents=True)
    away.mkdir()
    monkeypatch.chdir(away)
    names = [name.replace("../", "sub/") for name in NAMES]
    for name in names:
        ids = ("../../../owned", "/etc/passwd", "C:\\owned")
        lines = [{"id": i, "instruction": f"{name} {i}", "output": "../owned"} for i in ids]
        (data / name).write_bytes(jsonl(lines) + b"{broken\n")
    run = Pipeline(build_config(stages=["dedup"])).run(data, out=out)
    ledger = run.ledger(["id", "file", "source_id"])
    assert set(ledger["file"].to_pylist()) == set(names)
    assert ledger.num_rows == 4 * len(names)
    assert "../../../owned" in ledger["source_id"].to_pylist()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["away", "data", "run"]
    assert list(away.iterdir()) == []
    assert {p.relative_to(data).as_posix() for p in data.rglob("*.jsonl")} == set(names)
