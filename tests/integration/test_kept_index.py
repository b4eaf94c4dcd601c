"""A run whose rows are compared with those that an earlier run kept."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from clear_pipeline import Pipeline, build_config
from clear_pipeline.cli import app
from clear_pipeline.errors import UsageError
from clear_pipeline.outputs import index_run
from clear_pipeline.run import Run

WORDS = [f"word{i}" for i in range(60)]
LONG = " ".join(WORDS)
EDITED = " ".join([*WORDS[:30], "other", *WORDS[31:]])


def written(path: Path, pairs: list[tuple[str, str]]) -> Path:
    lines = [json.dumps({"instruction": p, "output": r}) for p, r in pairs]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def index(tmp_path: Path) -> Path:
    """Of a run that keeps four rows of five."""
    data = [("Say it.", LONG), ("Name a river.", "The Elbe"), ("Hi", "Hello"), ("Hi", "Hello")]
    earlier = written(tmp_path / "old.jsonl", [*data, ("Name a town.", "Hof")])
    Pipeline(build_config(stages=["dedup"])).run(earlier, out=tmp_path / "old")
    out = tmp_path / "kept.index.parquet"
    result = CliRunner().invoke(app, ["index", str(tmp_path / "old"), "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert "dedup.against=" in result.output
    assert pq.read_metadata(out).num_rows == 4
    return out


def test_an_index_holds_the_rows_of_the_export_and_no_other(tmp_path: Path) -> None:
    """A row that the run's format cannot express was not exported, and is not in it."""
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    rows = [
        {"messages": turns},
        {"messages": [*turns, {"role": "user", "content": "Bye"}, turns[1]]},
    ]
    data = tmp_path / "chat.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    config = build_config(stages=["dedup"], assignments=["export.format=alpaca"])
    run = Pipeline(config).run(data, out=tmp_path / "run")
    assert index_run(run, tmp_path / "kept", "word") == 1
    assert pq.read_table(tmp_path / "kept")["line"].to_pylist() == [1]


def deduped(tmp_path: Path, pairs: list[tuple[str, str]], *settings: str) -> Run:
    data = written(tmp_path / "new.jsonl", pairs)
    config = build_config(stages=["dedup"], assignments=list(settings))
    return Pipeline(config).run(data, out=tmp_path / "new")


def test_rows_of_an_earlier_run_stay_and_new_ones_go(tmp_path: Path, index: Path) -> None:
    """Exact and near, whichever is longer; a new answer to an old prompt is a conflict."""
    pairs = [
        ("Say it.", EDITED + " end"),
        ("Hi", "Hello"),
        ("Name a river.", "The Oder"),
        ("New?", "Yes, quite new."),
    ]
    run = deduped(tmp_path, pairs, f"dedup.against={index}", "dedup.keep=longest")
    told = run.ledger(["duplicate_of", "duplicate_kind", "conflict", "fate"]).to_pylist()
    place = f"{index.name}/old.jsonl"
    assert [row["duplicate_of"] for row in told] == [f"{place}:1", f"{place}:3", None, None]
    assert [row["duplicate_kind"] for row in told] == ["near", "exact", None, None]
    assert [row["conflict"] for row in told] == [None, None, f"{place}:2", None]
    assert [row["fate"] for row in told] == ["duplicate", "duplicate", "kept", "kept"]
    assert run.manifest.counts()["rows"] == 4


def test_an_index_holds_no_text(index: Path) -> None:
    """Neither of prompts nor of responses."""
    data = index.read_bytes() + str(pq.read_table(index).to_pylist()).encode()
    for text in (b"word1", b"Elbe", b"river", b"Hello"):
        assert text not in data


def test_a_moved_index_is_the_same_and_another_is_not(tmp_path: Path, index: Path) -> None:
    """Its content enters the fingerprint, and its name, by which rows are told."""
    pairs = [("Hi", "Hello"), ("New?", "Yes")]
    deduped(tmp_path, pairs, f"dedup.against={index}")
    moved = tmp_path / "elsewhere" / index.name
    moved.parent.mkdir()
    index.rename(moved)
    run = deduped(tmp_path, pairs, f"dedup.against={moved}")
    record = run.manifest.stage("dedup")
    assert record is not None
    assert str(tmp_path) not in json.dumps(record.settings)
    assert run.ledger(["duplicate_of"])["duplicate_of"][0].as_py() == f"{index.name}/old.jsonl:3"


@pytest.mark.parametrize("kind", ["missing", "text", "parquet", "unit"])
def test_what_is_no_index_stops_a_run_before_it_begins(
    tmp_path: Path, index: Path, kind: str
) -> None:
    """One line with the file and what to do; nothing is written."""
    path = tmp_path / "other"
    if kind == "text":
        path.write_text("not parquet")
    if kind == "parquet":
        pq.write_table(pa.table({"file": ["a"]}), path)
    settings = [f"dedup.against={index if kind == 'unit' else path}"]
    settings += ["dedup.unit=character"] if kind == "unit" else []
    expected = "dedup.unit=word" if kind == "unit" else "clear-pipeline index RUN --out FILE"
    with pytest.raises(UsageError, match=expected) as error:
        deduped(tmp_path, [("Hi", "Hello")], *settings)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "new").exists()
