"""Addresses of places elsewhere: what is one, what is refused, and the protocols of fsspec."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
from aiohttp import web

from clear_pipeline.config import build_config
from clear_pipeline.errors import (
    MissingExtraError,
    NothingReadableError,
    RemoteError,
    UsageError,
)
from clear_pipeline.export import ExportSettings
from clear_pipeline.load import data_name, discover
from clear_pipeline.outputs import export_run
from clear_pipeline.pipeline import Pipeline
from clear_pipeline.remote import is_remote, local_directory, local_path, place_at
from clear_pipeline.report.next_commands import run_words
from loading import ALPACA, jsonl
from loopback import LoopbackServer

DEDUP = build_config(stages=["dedup"])


@pytest.mark.parametrize(
    ("typed", "elsewhere"),
    [
        ("s3://bucket/dir", True),
        ("S3://bucket", True),
        ("hf://datasets/a/b", True),
        ("https://host/x.jsonl", True),
        ("foo:bar", False),
        ("C://dir", False),
        (r"C:\dir", False),
        ("file:///tmp/x", False),
        ("a/s3://b", False),
        ("s3:/bucket", False),
        ("://x", False),
        ("dir", False),
    ],
)
def test_what_is_an_address(typed: str, elsewhere: bool) -> None:  # noqa: FBT001
    """A scheme of two letters or more and `://`, but for `file`; all else is a path."""
    assert is_remote(typed) is elsewhere


def test_odd_names_are_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`foo:bar` is a file of this directory, and a `file://` address the path that it names."""
    monkeypatch.chdir(tmp_path)
    Path("foo:bar").write_bytes(jsonl(ALPACA))
    Path("a b%.jsonl").write_bytes(jsonl(ALPACA))
    assert [file.name for file in discover("foo:bar").inputs] == ["foo:bar"]
    assert local_path(f"file://{tmp_path}/a%20b%25.jsonl") == tmp_path / "a b%.jsonl"
    assert data_name("file:///x/a%20b") == "a b"
    assert local_directory("file:///tmp/run") == Path("/tmp/run")
    with pytest.raises(UsageError, match="names the host 'tmp'; a file of this machine is file:/"):
        local_path("file://tmp/x")


@pytest.mark.parametrize(
    "address",
    [
        "s3://key:SECRET@bucket/dir",
        "s3://SECRET@bucket/dir",
        "https://host/x.jsonl?X-Amz-Signature=SECRET",
        "abfs://key:SECRET@account/dir",
        "s3://bucket/d?secret_key=SECRET",
    ],
)
def test_secrets_are_refused_and_not_repeated(address: str, tmp_path: Path) -> None:
    """Neither as DATA nor as a place for an export or a run; nothing is written."""
    for refused in (
        lambda: Pipeline(DEDUP).run(address, out=tmp_path / "run"),
        lambda: Pipeline(DEDUP).run(tmp_path, out=address),
        lambda: place_at(address),
    ):
        with pytest.raises(UsageError, match="no user, password or query") as told:
            refused()
        assert "SECRET" not in str(told.value)
    assert list(tmp_path.iterdir()) == []


def test_protocols_that_nobody_speaks_are_told() -> None:
    """An unknown one, one whose package is missing, and an address that names no place."""
    with pytest.raises(UsageError, match=r"^foo://: no such protocol \(.*\); s3, gs and hf are"):
        place_at("foo://x")
    with pytest.raises(MissingExtraError, match=r"^sftp://.*not installed: pip install paramiko$"):
        place_at("sftp://host/x")
    with pytest.raises(UsageError, match=r"^s3://: names no place; give s3://BUCKET/PATH$"):
        place_at("s3://")


@pytest.fixture
def memory() -> Iterator[str]:
    """An address in fsspec's file system in memory, which is one for the whole process."""
    root = f"memory://{uuid.uuid4().hex}"
    yield root
    filesystem = fsspec.filesystem("memory")
    if filesystem.exists(root):
        filesystem.rm(root, recursive=True)


def put(address: str, data: bytes) -> None:
    with fsspec.open(address, "wb") as file:
        file.write(data)


def test_any_protocol_of_fsspec_is_read(memory: str, tmp_path: Path) -> None:
    """Ids, shards and the ledger are those of a local copy; a changed file alone is read again."""
    for folder in (tmp_path / "data", memory):
        for name in ("a b.jsonl", "sub/ü.jsonl"):
            path = f"{folder}/{name}"
            if not is_remote(path):
                Path(path).parent.mkdir(parents=True, exist_ok=True)
            put(path, jsonl(ALPACA[: len(name)]) + name.encode())
    here = Pipeline(DEDUP).run(tmp_path / "data", out=tmp_path / "here")
    there = Pipeline(DEDUP).run(memory, out=tmp_path / "there")
    assert [record.path for record in there.manifest.files] == ["a b.jsonl", "sub/ü.jsonl"]
    assert [r.fingerprint for r in there.manifest.files] == [
        r.fingerprint for r in here.manifest.files
    ]
    ledgers = [(run.path / "ledger.parquet").read_bytes() for run in (here, there)]
    assert ledgers[0] == ledgers[1]

    assert run_words(there)[:3] == ["clear-pipeline", "run", memory]

    before = there.manifest.files
    put(f"{memory}/a b.jsonl", jsonl(ALPACA[:1]))
    after = Pipeline(DEDUP).run(memory, out=tmp_path / "there").manifest.files

    assert after[1] == before[1]
    assert (after[0].rows, after[0].stamp == before[0].stamp) == (1, False)


def test_a_large_file_is_fetched_in_blocks(memory: str, tmp_path: Path) -> None:
    """Its bytes and their SHA-256 are those that are there, and its stamp is told."""
    data = bytes(range(256)) * (70 << 10)  # 17.5 MiB, of blocks of 8 MiB
    put(f"{memory}/large", data)
    place = place_at(f"{memory}/large")
    fetched = place.fetch(tmp_path / "large")
    assert (tmp_path / "large").read_bytes() == data
    assert fetched.sha256 == place.sha256() == hashlib.sha256(data).hexdigest()
    assert fetched.stamp == place.stamp() != ""


class Pages(LoopbackServer):
    """One file, behind a path that needs no query."""

    def _app(self) -> web.Application:
        async def file(_request: web.Request) -> web.Response:
            return web.Response(body=jsonl(ALPACA), headers={"ETag": '"1"'})

        app = web.Application()
        app.router.add_get("/v1/rows.jsonl", file)
        return app


def test_a_file_of_the_web_is_read(tmp_path: Path) -> None:
    """By fsspec; what is not there is told."""
    with Pages() as server:
        run = Pipeline(DEDUP).run(f"{server.url}/rows.jsonl", out=tmp_path / "run")
        assert run.ledger(["id"])["id"].to_pylist()[0] == "rows.jsonl:1"
        with pytest.raises(NothingReadableError, match=r"none\.jsonl: no such file or directory"):
            discover(f"{server.url}/none.jsonl")


def test_a_place_that_is_empty_or_away(memory: str, tmp_path: Path) -> None:
    """An empty directory holds no files; what is not there is said to be not there."""
    with pytest.raises(NothingReadableError, match=rf"^{memory}/x: no such file or directory"):
        discover(f"{memory}/x")
    fsspec.filesystem("memory").makedirs(f"{memory}/empty/deeper")
    with pytest.raises(NothingReadableError, match=r"no usable row\nfound:\n  no files"):
        discover(f"{memory}/empty")
    with pytest.raises(RemoteError, match=r"x: cannot be read \(.*\); the same command goes on"):
        (place_at(memory) / "x").read()


def test_an_export_to_any_protocol_of_fsspec(memory: str, tmp_path: Path) -> None:
    """Directories are made; equal to the run's own export; a second one replaces the first."""
    data = tmp_path / "a.jsonl"
    data.write_bytes(jsonl(ALPACA))
    run = Pipeline(DEDUP).run(data, out=tmp_path / "run")
    settings = ExportSettings(valid_fraction=0)
    export_run(run, f"{memory}/deep/er", settings)
    export_run(run, f"{memory}/deep/er", settings)
    export_run(run, tmp_path / "local", settings)
    with fsspec.open(f"{memory}/deep/er/train.jsonl", "rb") as file:
        assert file.read() == (tmp_path / "local" / "train.jsonl").read_bytes()


def test_parts_of_a_path_without_a_name_are_left_out(memory: str) -> None:
    """An object store may hold keys that are no paths; they are listed, and the others read."""
    put(f"{memory}/a.jsonl", jsonl(ALPACA))
    put(f"{memory}/x//b.jsonl", jsonl(ALPACA))
    listing = discover(memory)
    assert [file.name for file in listing.inputs] == ["a.jsonl"]
    assert [(s.path, s.reason) for s in listing.skipped] == [
        ("x//b.jsonl", "a part of its path has no name")
    ]


def test_what_this_package_made_is_no_data_elsewhere_either(memory: str, tmp_path: Path) -> None:
    """Runs and loops within DATA are skipped as in a local copy, and named alike."""
    names = (
        "a.jsonl", "loop.json", "run/manifest.json", "run/rows/r.jsonl", "run/export/train.jsonl",
        "b/loop/loop.json", "b/loop/round-1/run/manifest.json", "b/loop/round-1/run/rows/r.jsonl",
        "b/loop/test.jsonl", "no/loop.json", "no/round-2/a.jsonl",
    )  # fmt: skip
    for name in names:
        put(f"{memory}/{name}", jsonl(ALPACA))
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        put(f"{tmp_path}/{name}", jsonl(ALPACA))
    here, there = discover(tmp_path), discover(memory)
    read = ["a.jsonl", "loop.json", "no/loop.json", "no/round-2/a.jsonl"]
    assert [file.name for file in there.inputs] == read
    assert [file.name for file in here.inputs] == read
    skipped = [("b/loop/", "the directory of a loop"), ("run/", "a run directory")]
    assert [(s.path, s.reason) for s in there.skipped] == skipped
    assert sorted((s.path, s.reason) for s in here.skipped) == skipped
