"""DATA in an object store: a real S3 server on loopback, and what can go wrong with it."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from clear_pipeline.config import build_config
from clear_pipeline.errors import NothingReadableError, RemoteError, RunMismatchError, UsageError
from clear_pipeline.load import LoadSettings
from clear_pipeline.pipeline import Pipeline
from clear_pipeline.probe import ProbeSettings, make_plan
from clear_pipeline.run import Run
from clear_pipeline.stages.base import SilentProgress
from loading import arrow_stream
from object_store import ObjectStore

DEDUP = build_config(stages=["dedup"])


@pytest.fixture(scope="module")
def server() -> Iterator[ObjectStore]:
    with ObjectStore() as running:
        yield running


@pytest.fixture
def store(server: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> ObjectStore:
    """An empty bucket, which this process finds as its users' do."""
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    server.new_bucket()
    return server


def pairs(*numbers: int) -> bytes:
    rows = ({"prompt": f"What is {n} squared?", "completion": f"It is {n * n}."} for n in numbers)
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def uploaded(store: ObjectStore, data: Path, prefix: str) -> str:
    """Copy a directory into the bucket; returns the address of the copy."""
    for path in data.rglob("*"):
        if path.is_file():
            store.put(f"{prefix}/{path.relative_to(data).as_posix()}", path.read_bytes())
    return f"s3://{store.bucket}/{prefix}"


def run(data: str | Path, out: Path) -> Run:
    return Pipeline(DEDUP).run(data, out=out)


def parts(finished: Run) -> list[tuple[str, str, str, list[str]]]:
    files = finished.manifest.files
    return [(file.path, file.sha256, file.fingerprint, file.shards) for file in files]


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """Nested files of all kinds, with names that are no words of ASCII."""
    data = tmp_path / "my data"
    for folder in ("nested/deep er", "saved", "empty", ".hidden", "run/rows"):
        (data / folder).mkdir(parents=True)
    (data / "a b.jsonl").write_bytes(pairs(1, 2, 3, 1))
    (data / "nested" / "ü ñ 漢 %20?#.jsonl.gz").write_bytes(gzip.compress(pairs(4, 5)))
    (data / "nested" / "deep er" / "faq.csv").write_text("question,answer\nWhy?,Because.\nbad\n")
    table = pa.table({"instruction": ["Say 1.", "Say 2."], "output": ["1", "2"]})
    pq.write_table(table, data / "table.parquet")
    arrow_stream(data / "saved" / "data-0.arrow", [{"prompt": "6?", "completion": "36"}])
    arrow_stream(data / "saved" / "cache-1.arrow", [{"prompt": "6?", "completion": "36"}])
    state = json.dumps({"_data_files": [{"filename": "data-0.arrow"}]})
    (data / "saved" / "state.json").write_text(state)
    (data / "saved" / "dataset_info.json").write_text("{}")
    (data / ".hidden" / "x.jsonl").write_bytes(pairs(7))
    (data / "nothing.jsonl").write_bytes(b"")
    (data / "notes.txt").write_text("words\n")
    (data / "run" / "manifest.json").write_text("{}")
    (data / "run" / "rows" / "x.jsonl").write_bytes(pairs(8))
    return data


def test_a_copy_elsewhere_is_the_same_data(store: ObjectStore, mixed: Path, tmp_path: Path) -> None:
    """Ids, shards, fingerprints, reasons and the bytes of the ledger are those of the original."""
    here = run(mixed, tmp_path / "here")
    there = run(uploaded(store, mixed, "sets/my data"), tmp_path / "there")

    assert [path for path, *_ in parts(there)] == [
        "a b.jsonl",
        "nested/deep er/faq.csv",
        "nested/ü ñ 漢 %20?#.jsonl.gz",
        "saved/data-0.arrow",
        "table.parquet",
    ]
    assert parts(there) == parts(here)
    assert {(s.path, s.reason) for s in there.manifest.skipped} == {
        (s.path, s.reason) for s in here.manifest.skipped
    }
    assert len(there.manifest.skipped) == 6
    for name in ("ledger.parquet", "quarantine.jsonl", "export/train.jsonl", "DATASET_CARD.md"):
        assert (there.path / name).read_bytes() == (here.path / name).read_bytes(), name
    assert there.manifest.fates["duplicate"] == 1
    assert there.manifest.source == f"s3://{store.bucket}/sets/my data"
    assert not list(there.path.glob(".fetched*"))


def test_one_object_is_data_too(store: ObjectStore, tmp_path: Path) -> None:
    """Its rows are named after it, as those of a single file are."""
    store.put("dir/only.jsonl", pairs(1, 2))
    finished = run(f"s3://{store.bucket}/dir/only.jsonl", tmp_path / "run")
    assert finished.ledger(["id"])["id"].to_pylist() == ["only.jsonl:1", "only.jsonl:2"]
    assert finished.manifest.dataset == "only.jsonl"


def test_what_did_not_change_is_not_fetched_again(store: ObjectStore, tmp_path: Path) -> None:
    """A resumed run fetches the one object that has other bytes, though as many, of that second.

    That a file gives no row is remembered too.
    """
    store.put("d/a.jsonl", pairs(1))
    store.put("d/b.jsonl", pairs(2))
    store.put("d/c.txt", b"only words\n")
    address = f"s3://{store.bucket}/d"
    first = run(address, tmp_path / "run")
    assert sorted(set(store.fetched)) == ["d/a.jsonl", "d/b.jsonl", "d/c.txt"]
    store.fetched.clear()

    run(address, tmp_path / "run")
    assert store.fetched == []

    store.put("d/b.jsonl", pairs(3))
    again = run(address, tmp_path / "run")
    assert set(store.fetched) == {"d/b.jsonl"}
    assert [parts(again)[0], parts(again)[1][0]] == [parts(first)[0], "b.jsonl"]
    assert parts(again)[1] != parts(first)[1]
    assert [skipped.path for skipped in again.manifest.skipped] == ["c.txt"]


def test_the_same_bytes_under_another_date_compute_nothing(
    store: ObjectStore, tmp_path: Path
) -> None:
    """An object that was written again is fetched once, and its rows are those that were there."""
    store.put("d/a.jsonl", pairs(1))
    address = f"s3://{store.bucket}/d"
    run(address, tmp_path / "run")
    manifest = tmp_path / "run" / "manifest.json"
    rows = {path: path.stat().st_mtime_ns for path in (tmp_path / "run" / "rows").iterdir()}
    record = Run(tmp_path / "run").manifest
    record.files[0].stamp = "etag=other"
    record.save(tmp_path / "run")
    store.fetched.clear()

    again = run(address, tmp_path / "run")

    assert set(store.fetched) == {"d/a.jsonl"}
    assert {path: path.stat().st_mtime_ns for path in rows} == rows
    assert again.manifest.files[0].stamp != "etag=other"
    store.fetched.clear()
    run(address, tmp_path / "run")
    assert store.fetched == []
    assert manifest.is_file()


def test_a_connection_that_breaks_is_an_error_that_resumes(
    store: ObjectStore, tmp_path: Path
) -> None:
    """What came before the break is not fetched again; the result is that of an unbroken run."""
    for name, number in (("a", 1), ("b", 2), ("c", 3)):
        store.put(f"d/{name}.jsonl", pairs(*range(number * 100, number * 100 + 90)))
    address = f"s3://{store.bucket}/d"
    store.broken = {"d/b.jsonl"}
    with pytest.raises(RemoteError, match=r"^s3://.*/d/b\.jsonl: cannot be read \(.*\); the same "):
        run(address, tmp_path / "run")
    assert not list((tmp_path / "run").glob(".fetched*"))
    store.broken, store.fetched = set(), []

    finished = run(address, tmp_path / "run")

    assert "d/a.jsonl" not in store.fetched
    unbroken = run(address, tmp_path / "unbroken")
    assert parts(finished) == parts(unbroken)
    ledgers = [(r.path / "ledger.parquet").read_bytes() for r in (finished, unbroken)]
    assert ledgers[0] == ledgers[1]


def test_a_finished_run_that_breaks_later_keeps_no_ledger_of_other_rows(
    store: ObjectStore, tmp_path: Path
) -> None:
    """If a changed object was read and the next one breaks, the old ledger is not taken for new."""
    store.put("d/a.jsonl", pairs(1))
    store.put("d/b.jsonl", pairs(2))
    address = f"s3://{store.bucket}/d"
    run(address, tmp_path / "run")
    store.put("d/a.jsonl", pairs(3))
    store.put("d/b.jsonl", pairs(4))
    store.broken = {"d/b.jsonl"}
    with pytest.raises(RemoteError):
        run(address, tmp_path / "run")
    stopped = Run(tmp_path / "run").manifest
    assert not stopped.finished
    assert [file.path for file in stopped.files] == ["a.jsonl", "b.jsonl"]
    assert not (tmp_path / "run" / "ledger.parquet").exists()
    store.broken = set()
    assert run(address, tmp_path / "run").manifest.fates["kept"] == 2


def test_a_file_that_changes_while_it_is_read_is_refused(
    store: ObjectStore, tmp_path: Path
) -> None:
    """Bytes of two versions never make one file; the same call reads the new one."""
    store.put("d/a.jsonl", pairs(1))
    store.when_fetched["d/a.jsonl"] = lambda: store.put("d/a.jsonl", pairs(2))
    address = f"s3://{store.bucket}/d"
    with pytest.raises(RemoteError, match=r"a\.jsonl: changed while it was read; the same command"):
        run(address, tmp_path / "run")
    finished = run(address, tmp_path / "run")
    assert finished.manifest.fates["kept"] == 1
    (shard,) = finished.shards()
    assert shard.table["response"].to_pylist() == ["It is 4."]


def cli(store: ObjectStore, *words: str | Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "clear_pipeline", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **store.environment(), "COLUMNS": "400"},
    )


def test_a_killed_run_leaves_nothing_that_the_next_one_does_not_sweep(
    store: ObjectStore, tmp_path: Path
) -> None:
    """Killed while an object is on its way; the next run takes its place and tidies up."""
    store.put("d/a.jsonl", pairs(1))
    address, out = f"s3://{store.bucket}/d", tmp_path / "run"
    words = ("run", address, "--out", out, "--stages", "load,dedup,export")
    killed = cli(store, *words)
    store.when_fetched["d/a.jsonl"] = lambda: os.kill(killed.pid, signal.SIGKILL)
    killed.communicate(timeout=300)
    assert killed.returncode == -signal.SIGKILL
    assert [path.name for path in out.glob(".fetched*")] == [".fetched.tmp"]

    second = cli(store, *words)
    told, error = second.communicate(timeout=300)

    assert second.returncode == 0, error
    assert "kept" in told
    assert not list(out.glob(".fetched*"))
    for path in out.rglob("*"):
        assert not path.is_file() or b"secret-never-written" not in path.read_bytes()


def test_a_killed_run_fetches_little_again(store: ObjectStore, tmp_path: Path) -> None:
    """After 64 MiB what was fetched is known for good, so that a kill costs no more than that."""
    store.put("d/a.png", b"\x89PNG" + bytes(64 << 20))
    store.put("d/b.jsonl", pairs(1))
    words = ("run", f"s3://{store.bucket}/d", "--out", tmp_path / "run")
    killed = cli(store, *words, "--stages", "load,dedup,export")
    store.when_fetched["d/b.jsonl"] = lambda: os.kill(killed.pid, signal.SIGKILL)
    killed.communicate(timeout=300)
    assert killed.returncode == -signal.SIGKILL
    store.fetched.clear()

    finished = run(f"s3://{store.bucket}/d", tmp_path / "run")

    assert set(store.fetched) == {"d/b.jsonl"}
    assert [file.path for file in finished.manifest.skipped] == ["a.png"]


def test_no_more_is_fetched_than_the_limit_asks_for(store: ObjectStore, tmp_path: Path) -> None:
    """The object that holds the last row is the last that is fetched."""
    for name, number in (("a", 1), ("b", 2), ("c", 3)):
        store.put(f"d/{name}.jsonl", pairs(number, number + 10))
    limited = build_config(stages=["dedup"], flags={"load": {"limit": 3}})
    finished = Pipeline(limited).run(f"s3://{store.bucket}/d", out=tmp_path / "run")
    ids = finished.ledger(["id"])["id"].to_pylist()
    assert ids == ["a.jsonl:1", "a.jsonl:2", "b.jsonl:1"]
    assert set(store.fetched) == {"d/a.jsonl", "d/b.jsonl"}


def test_what_is_not_there_is_said_in_one_line(store: ObjectStore, tmp_path: Path) -> None:
    """A prefix, a bucket and a forbidden one: what, where, and where credentials come from."""
    store.put("d/a.jsonl", pairs(1))
    for address in (f"s3://{store.bucket}/no/such", "s3://no-such-bucket/d"):
        with pytest.raises(NothingReadableError, match=r"^s3://\S+: no such file .*AWS_PROFILE.*$"):
            run(address, tmp_path / "run")
    store.put("words/words.txt", b"only words\n")
    with pytest.raises(NothingReadableError, match=r"no usable row\nfound:\n  words\.txt: not a "):
        run(f"s3://{store.bucket}/words", tmp_path / "words")
    store.forbid(everything=True)
    try:
        with pytest.raises(RemoteError, match=r"^s3://\S+: cannot be read \(.*ACCESS_DENIED.*$"):
            run(f"s3://{store.bucket}/d", tmp_path / "run")
    finally:
        store.forbid(everything=False)
    assert not (tmp_path / "run").exists()


def test_a_run_moves_from_a_copy_to_the_original(
    store: ObjectStore, mixed: Path, tmp_path: Path
) -> None:
    """The run of a local copy goes on with the original elsewhere; other data is refused."""
    here = run(mixed, tmp_path / "run")
    address = uploaded(store, mixed, "d")
    rows = {path: path.stat().st_mtime_ns for path in (tmp_path / "run" / "rows").iterdir()}

    there = run(address, tmp_path / "run")

    assert parts(there) == parts(here)
    assert {path: path.stat().st_mtime_ns for path in rows} == rows
    store.put("other/a b.jsonl", pairs(99, 98))
    with pytest.raises(RunMismatchError, match="no file is the same"):
        run(f"s3://{store.bucket}/other", tmp_path / "run")


def test_estimate_and_probe_read_it_too(store: ObjectStore, mixed: Path, tmp_path: Path) -> None:
    """A plan of a probe and an estimate are those of a local copy."""
    address = uploaded(store, mixed, "my data")
    plans = [make_plan(data, LoadSettings(), ProbeSettings()) for data in (mixed, address)]
    assert plans[0] == plans[1]
    assert plans[1].rows_read == 10
    estimates = [Pipeline(DEDUP).estimate(data) for data in (mixed, address)]
    assert estimates[0] == estimates[1]


def test_a_run_directory_elsewhere_is_refused(store: ObjectStore, tmp_path: Path) -> None:
    """The message says why, and how the training files get there."""
    data = tmp_path / "a.jsonl"
    data.write_bytes(pairs(1))
    out = f"s3://{store.bucket}/run"
    with pytest.raises(UsageError, match=r"local file system; .*export RUN --out s3://bucket-"):
        Pipeline(DEDUP).run(data, out=out)
    refused = cli(store, "run", data, "--out", out, "--stages", "load,dedup,export")
    _, error = refused.communicate(timeout=300)
    assert refused.returncode == 2
    assert error.startswith(f"error: {out}: a run lives in a directory of this machine")
    assert error.count("\n") == 1
    assert store.objects() == []


def test_progress_names_what_is_fetched(store: ObjectStore, tmp_path: Path) -> None:
    """A skipped object is told as a skipped file is."""
    store.put("d/a.jsonl", pairs(1))
    store.put("d/b.png", b"\x89PNG and so on")
    progress = SilentProgress()
    Pipeline(DEDUP, progress=progress).run(f"s3://{store.bucket}/d", out=tmp_path / "run")
    assert "skipped b.png: not a dataset: a PNG image" in progress.notes
