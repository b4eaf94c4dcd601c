"""Benchmark files: every kind is read, what cannot be is an error in one line, names tell them."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from clear_pipeline.config import build_config
from clear_pipeline.durable import file_sha256
from clear_pipeline.errors import ConfigError, UsageError
from clear_pipeline.pipeline import Pipeline
from clear_pipeline.stages.decontaminate import Decontaminate
from clear_pipeline.stages.decontaminate.benchmark import benchmark_files, read_benchmarks
from decontaminate_rows import benchmark, stage

ROWS = [{"task": "one", "more": ["two", {"x": "three"}], "n": 4}, {"task": " ", "n": 5}]


def read(path: Path, *columns: str) -> list[tuple[str, str]]:
    """Place and text of all texts."""
    files, _ = benchmark_files([str(path)])
    found = read_benchmarks(files, columns)
    return [(found.place(n), text) for n, text in enumerate(found.texts)]


def written(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_every_text_of_a_row_is_read(tmp_path: Path) -> None:
    """In lists and objects too; blank texts and numbers are none."""
    path = benchmark(tmp_path, ROWS)
    assert read(path) == [(f"test.jsonl:{1}", text) for text in ("one", "two", "three")]


@pytest.mark.parametrize("columns", [("more",), ("more", "absent")])
def test_only_the_named_columns_are_read(tmp_path: Path, columns: tuple[str, ...]) -> None:
    """Each where it is there."""
    found = read(benchmark(tmp_path, ROWS), *columns)
    assert stage(tmp_path, columns="more").columns == ("more",)
    assert [text for _, text in found] == ["two", "three"]


@pytest.mark.parametrize(
    ("record", "texts"),
    [
        ({"instruction": "do", "input": "this", "output": "done"}, ["do\n\nthis", "done"]),
        ({"question": "who?", "answer": "me", "hint": "look"}, ["who?", "me", "look"]),
        ({"question": "who?", "answer": ""}, ["who?"]),
        (
            {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]},
            ["q", "a"],
        ),
    ],
)
def test_a_row_of_a_known_format_is_read_as_its_turns(
    tmp_path: Path, record: dict[str, Any], texts: list[str]
) -> None:
    """As the same row would be in DATA; its other columns by themselves."""
    assert [text for _, text in read(benchmark(tmp_path, [record]))] == texts


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("b.json", json.dumps([{"task": "one"}, {"task": "two"}])),
        ("b.json", json.dumps({"data": [{"task": "one"}, {"task": "two"}]})),
        ("b.jsonl.gz", gzip.compress(b'{"task": "one"}\n{"task": "two"}\n', mtime=0)),
        ("b.csv", "task;n\none;1\ntwo;2\n"),
        ("b.tsv", "task\tn\none\t1\ntwo\t2\n"),
        ("b.csv", "task\none\ntwo\n"),
        ("b.txt", "one\ntwo\n\n"),
        ("b.txt", "\n\none\n\ntwo"),
    ],
)
def test_every_kind_of_file(tmp_path: Path, name: str, content: str | bytes) -> None:
    """JSON, wrapped JSON, compressed JSONL, CSV of any columns, text by lines or paragraphs."""
    found = read(written(tmp_path / name, content), *([] if name == "b.txt" else ["task"]))
    assert [text for _, text in found] == ["one", "two"]


def test_parquet_and_arrow_rows_have_their_number(tmp_path: Path) -> None:
    """Counted from 1."""
    pq.write_table(pa.table({"task": ["one", None, "three"]}), tmp_path / "b.parquet")
    assert read(tmp_path / "b.parquet") == [("b.parquet:1", "one"), ("b.parquet:3", "three")]


def test_paragraphs_have_their_first_line(tmp_path: Path) -> None:
    """A blank line between two lines makes paragraphs; their lines belong together."""
    path = written(tmp_path / "b.txt", "one\ntwo\n\n  \nthree\n")
    assert read(path) == [("b.txt:1", "one\ntwo"), ("b.txt:5", "three")]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("b.jsonl", "", "b.jsonl: empty; give benchmark files of JSONL"),
        ("b.txt", "", "b.txt: empty; give"),
        ("b.txt", " \n\n", "b.txt: no text to compare"),
        ("b.jsonl", '{"task": "one"}\n{"task": \n', "b.jsonl:2: "),
        ("b.jsonl", '{"n": 1}\n', "b.jsonl: no text to compare (found n); name the columns"),
        ("b.txt", b"one\n\xff\n", "b.txt:2: invalid UTF-8 at byte 1"),
        ("b.png", b"\x89PNG\r\n\x1a\n", "b.png: not a dataset: a PNG image"),
        ("b.parquet", b"PAR1 and no more", "b.parquet: "),
        ("b.csv", "a,a\nx,y\n", "b.csv: the header names column 'a' twice"),
    ],
)
def test_a_bad_file_is_an_error_in_one_line(
    tmp_path: Path, name: str, content: str | bytes, said: str
) -> None:
    """What, where and what to do; never a traceback, never a hole in the comparison."""
    path = written(tmp_path / name, content)
    with pytest.raises(UsageError) as error:
        stage(path).require_files()
    assert f"decontaminate: {tmp_path}/{said}" in str(error.value)
    assert "against" in str(error.value)
    assert "\n" not in str(error.value)


def test_columns_that_no_row_has_are_an_error(tmp_path: Path) -> None:
    """With those that there are."""
    path = benchmark(tmp_path, ROWS)
    with pytest.raises(UsageError, match=r"no text in columns quesion \(found task, more, n\)"):
        stage(path, columns=["quesion"]).require_files()


@pytest.mark.parametrize("name", ["nowhere.jsonl", "empty"])
def test_nothing_there_is_an_error_before_data_is_read(tmp_path: Path, name: str) -> None:
    """No run directory is made, and DATA, which is not there either, is not missed."""
    (tmp_path / "empty").mkdir()
    config = build_config(stages=["dedup"], decontaminate=[tmp_path / name])
    with pytest.raises(UsageError, match=rf"decontaminate: .*{name}: (no such|holds no)"):
        Pipeline(config).run(tmp_path / "absent", out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_directory_gives_its_data_files_under_its_name(tmp_path: Path) -> None:
    """Licences and notes are no benchmarks; a link out of it is told."""
    folder = tmp_path / "mmlu"
    for name in ("a/x.csv", "b.jsonl", "README.md", "LICENSE"):
        written(folder / name, "task\none\n")
    (folder / "c.jsonl").symlink_to(written(tmp_path / "c.jsonl", "{}"))
    files, left_out = benchmark_files([f"{folder}/"])
    assert [file.name for file in files] == ["mmlu/a/x.csv", "mmlu/b.jsonl"]
    assert left_out == (
        "mmlu/c.jsonl: a link out of the directory; give its target as DATA, or copy it",
    )
    with pytest.raises(UsageError, match=r"notes: holds no file of \.arrow, \.csv"):
        benchmark_files([str(written(tmp_path / "notes" / "README.md", "x").parent)])


def test_names_tell_files_apart(tmp_path: Path) -> None:
    """By as many folders as it takes, or as were named; a file that is named twice is one."""
    paths = [written(tmp_path / folder / "test.jsonl", folder) for folder in ("gsm", "math")]
    other = written(tmp_path / "other.jsonl", "x")
    files, _ = benchmark_files([*map(str, paths), str(other), str(other)])
    assert [file.name for file in files] == ["gsm/test.jsonl", "math/test.jsonl", "other.jsonl"]
    files, _ = benchmark_files([str(other), str(tmp_path / "gsm"), str(paths[0])])
    assert [file.name for file in files] == ["gsm/test.jsonl", "other.jsonl"]


def test_the_fingerprint_has_the_content_and_no_path(tmp_path: Path) -> None:
    """A copy elsewhere is the same benchmark; an edit makes another."""
    rows = [{"task": "one"}]
    here = benchmark(tmp_path / "here", rows)
    there = benchmark(tmp_path / "there", rows)
    identity = stage(here).identity()
    assert identity == stage(there).identity()
    assert str(tmp_path) not in str(identity)
    benchmark(tmp_path / "here", [{"task": "two"}])
    assert stage(here).identity() != identity
    assert identity["against"] == {"test.jsonl": file_sha256(there)}


def test_the_option_puts_the_stage_first(tmp_path: Path) -> None:
    """With the settings that a file gives it, and where the file has it."""
    config = build_config(stages=["dedup"], decontaminate=[Path("a"), Path("b")])
    first = config.stages[0]
    assert isinstance(first, Decontaminate)
    assert first.against == ("a", "b")
    assert [s.kind for s in config.stages] == ["decontaminate", "dedup"]
    file = written(
        tmp_path / "c.yaml",
        "stages: [{kind: dedup}, {kind: decontaminate, against: x, ngram_words: 8}]",
    )
    assert build_config(file).stages[1] == Decontaminate(against=("x",), ngram_words=8)
    given = build_config(file, decontaminate=[Path("a")])
    assert given.stages[1] == Decontaminate(against=("a",), ngram_words=8)


def test_the_written_config_reads_back_before_and_after_reading_benchmarks(tmp_path: Path) -> None:
    """Paths as they were given; what was read of the files is no setting."""
    config = build_config(stages=["dedup"], decontaminate=[benchmark(tmp_path, ROWS)])
    first = config.stages[0]
    assert isinstance(first, Decontaminate)
    first.require_files()
    again = build_config(written(tmp_path / "config.yaml", config.to_yaml()))
    assert again == config


@pytest.mark.parametrize(
    "assignments",
    [[], ["decontaminate.against=[]"], ["decontaminate.against=''"]],
)
def test_a_stage_without_a_benchmark_is_an_error(assignments: list[str]) -> None:
    """It says how to give one."""
    with pytest.raises(ConfigError, match=r"against: no benchmark is named.*--decontaminate FILE"):
        build_config(stages=["decontaminate", "dedup"], assignments=assignments)
