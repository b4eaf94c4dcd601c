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
from clear_pipeline.load import Problem, Skipped
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
