"""Training files written to an object store, on a real S3 server on loopback."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from clear_pipeline.config import build_config
from clear_pipeline.errors import RemoteError, UsageError
from clear_pipeline.export import ExportSettings
from clear_pipeline.outputs import export_run
from clear_pipeline.pipeline import Pipeline
from clear_pipeline.run import Run
from object_store import ObjectStore


@pytest.fixture(scope="module")
def server() -> Iterator[ObjectStore]:
    with ObjectStore() as running:
        yield running


@pytest.fixture
def store(server: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> ObjectStore:
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    server.new_bucket()
    return server


@pytest.fixture
def finished(tmp_path: Path) -> Run:
    """A run of 40 rows, one of which is there twice."""
    rows = [{"prompt": f"{n} squared?", "completion": f"It is {n * n}."} for n in (*range(39), 3)]
    data = tmp_path / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return Pipeline(build_config(stages=["dedup"])).run(data, out=tmp_path / "run")


def test_the_files_are_those_of_a_local_export(
    store: ObjectStore, finished: Run, tmp_path: Path
) -> None:
    """Byte for byte; another export over it leaves no training file of the old behind."""
    settings = ExportSettings(valid_fraction=0.3)
    address = f"s3://{store.bucket}/sets/clean 1"
    result = export_run(finished, address, settings)
    assert (result.train + result.valid, result.removed) == (39, 1)
    export_run(finished, tmp_path / "local", settings)
    names = [path.name for path in sorted((tmp_path / "local").iterdir())]
    assert names == ["rectified.jsonl", "removed.jsonl", "train.jsonl", "valid.jsonl"]
    assert store.objects() == [f"sets/clean 1/{name}" for name in names]
    for name in names:
        assert store.get(f"sets/clean 1/{name}") == (tmp_path / "local" / name).read_bytes()

    export_run(finished, address, ExportSettings(format="parquet", valid_fraction=0))

    left = ["rectified.jsonl", "removed.jsonl", "train.parquet"]
    files = [key for key in store.objects() if not key.endswith("/")]  # pyarrow marks a directory
    assert files == [f"sets/clean 1/{name}" for name in left]
    assert not list(finished.path.glob(".export*"))


def test_files_of_others_are_not_replaced(store: ObjectStore, finished: Run) -> None:
    """Training files that no export wrote are refused, and an object is no directory."""
    store.put("theirs/train.jsonl", b"mine\n")
    address = f"s3://{store.bucket}/theirs"
    with pytest.raises(UsageError, match=r"^s3://\S+/theirs/train\.jsonl: no export wrote this"):
        export_run(finished, address, ExportSettings())
    with pytest.raises(UsageError, match=r"train\.jsonl: is a file, name a directory"):
        export_run(finished, f"{address}/train.jsonl", ExportSettings())
    assert store.get("theirs/train.jsonl") == b"mine\n"


def test_a_place_that_cannot_be_written_is_told(store: ObjectStore, finished: Run) -> None:
    """In one line with the address, and nothing stays on the way."""
    with pytest.raises(RemoteError, match=r"^s3://no-such-bucket/x/rectified\.jsonl: cannot be w"):
        export_run(finished, "s3://no-such-bucket/x", ExportSettings())
    assert not list(finished.path.glob(".export*"))
