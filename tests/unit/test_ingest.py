"""Loading into a run directory: what is said of a file, and what becomes of its bad rows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from clear_pipeline.config import build_config
from clear_pipeline.errors import UsageError
from clear_pipeline.pipeline import Pipeline
from clear_pipeline.run import Run
from clear_pipeline.stages.base import SilentProgress


def loaded(data: Path, out: Path) -> tuple[Run, list[str]]:
    """The run of a file in shards of two rows, and its notes."""
    progress = SilentProgress()
    config = build_config(stages=[], assignments=["load.shard_rows=2"])
    return Pipeline(config, progress=progress).run(data, out=out), progress.notes


def rows(*ids: str | None) -> str:
    """JSONL of one good row per id, none for None."""
    texts = [{"prompt": f"Question {n}?", "completion": "An answer."} for n in range(len(ids))]
    lines = ({**text, "id": i} if i else text for i, text in zip(ids, texts, strict=True))
    return "".join(json.dumps(line) + "\n" for line in lines)


def test_ids_that_repeat_are_counted_across_shards(tmp_path: Path) -> None:
    """Of seven rows in four shards two repeat an id; the first of them in the file is named."""
    data = tmp_path / "data.jsonl"
    data.write_text(rows("a", "b", None, "c", "b", "d", "a"))

    run, notes = loaded(data, tmp_path / "run")

    assert run.manifest.counts()["shards"] == 4
    assert notes == ["data.jsonl: 2 rows repeat an id of this file, the first is 'b'"]


def test_bad_rows_are_kept_in_order_and_nothing_unfinished_stays(tmp_path: Path) -> None:
    """Each with its line and text, file by file; no temporary file is left beside the rows."""
    data = tmp_path / "data"
    data.mkdir()
    (data / "a.jsonl").write_text(rows("x") + "{\n[]\n")
    (data / "b.jsonl").write_text(rows("y"))
    (data / "c.jsonl").write_text(rows("z") + "null\n")

    run, _ = loaded(data, tmp_path / "run")

    assert [(row["id"], row["text"]) for row in run.quarantine()] == [
        ("a.jsonl:2", "{"),
        ("a.jsonl:3", "[]"),
        ("c.jsonl:2", "null"),
    ]
    names = [path.name for path in (run.path / "rows").iterdir()]
    assert sum(name.startswith("quarantine-") for name in names) == 2
    assert not [name for name in names if name.endswith(".tmp")]


PAIRS = "question,answer,passage\nQ1,A1,P1\nQ2,A2,P2\n"


@pytest.mark.parametrize(
    ("map_", "lost"),
    [
        ("{prompt: question, response: answer, context: pasage}", "context=pasage"),
        ("{id: nope}", "id=nope"),
        ("{prompt: question, response: answr}", "prompt=question, response=answr"),
    ],
)
def test_each_mapped_column_must_be_in_a_file_that_is_read_with_it(
    tmp_path: Path, map_: str, lost: str
) -> None:
    """The error names the columns that are not there, those that are, and nothing else."""
    data = tmp_path / "qa.csv"
    data.write_text(PAIRS)
    config = build_config(stages=[], assignments=[f"load.map={map_}"])

    with pytest.raises(UsageError) as refused:
        Pipeline(config).run(data, out=tmp_path / "run")

    assert str(refused.value) == (
        f"map: no file has the columns of {lost}; found:\n  qa.csv: question, answer, passage"
    )


def test_mapped_columns_may_be_in_rows_apart(tmp_path: Path) -> None:
    """One has the id, one the context in another shard: both are read, also a second time."""
    data = tmp_path / "qa.jsonl"
    row = {"q": "Q", "a": "A"}
    made = [row | {"key": "k1"}, row, row, row | {"c": "C"}]
    data.write_text("".join(json.dumps(line) + "\n" for line in made))
    map_ = "load.map={prompt: q, response: a, id: key, context: c}"
    config = build_config(stages=[], assignments=["load.shard_rows=2", map_])

    for _ in range(2):
        run = Pipeline(config).run(data, out=tmp_path / "run")

        assert [line["source_id"] for line in run.ledger().to_pylist()] == ["k1", None, None, None]


def test_a_map_is_no_slip_where_all_rows_that_have_its_columns_are_bad(tmp_path: Path) -> None:
    """They stand in the quarantine, and the other files are a run."""
    data = tmp_path / "data"
    data.mkdir()
    (data / "a.csv").write_text("q,a\nQ,\n")
    (data / "b.jsonl").write_text(rows("x"))
    config = build_config(stages=[], assignments=["load.map={prompt: q, response: a}"])

    run = Pipeline(config).run(data, out=tmp_path / "run")

    assert [(file.rows, file.quarantined) for file in run.manifest.files] == [(0, 1), (1, 0)]
