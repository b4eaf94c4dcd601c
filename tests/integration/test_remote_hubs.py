"""DATA on the Hugging Face Hub and in Google Cloud Storage: stand-ins on loopback."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp import web
from gcp_storage_emulator.server import Server, create_server

from clear_pipeline.config import build_config
from clear_pipeline.errors import NothingReadableError
from clear_pipeline.export import ExportSettings
from clear_pipeline.outputs import export_run
from clear_pipeline.pipeline import Pipeline
from clear_pipeline.remote import place_at
from clear_pipeline.run import Run
from loopback import LoopbackServer

DEDUP = build_config(stages=["dedup"])
TOKEN = "hf_never_written"


def local_copy(directory: Path) -> dict[str, bytes]:
    """Files of a dataset, written below a directory; by name."""
    pairs = [json.dumps({"prompt": f"{n}?", "completion": str(n)}) + "\n" for n in range(6)]
    files = {
        "a b.jsonl": "".join(pairs[:4]).encode(),
        "deeper/ü.jsonl": "".join(pairs[3:]).encode(),
        "README.md": b"# A set\n",
    }
    for name, data in files.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_bytes(data)
    return files


class Hub(LoopbackServer):
    """As much of the Hub as reading a dataset asks for: `org/set`, below `data/`.

    Attributes:
        files: Bytes by name.
        fetched: Names of the files whose bytes were asked for.
        tokens: That came with a request.
    """

    def __init__(self, files: dict[str, bytes]) -> None:
        super().__init__()
        self.files = {f"data/{name}": data for name, data in files.items()}
        self.fetched: list[str] = []
        self.tokens: set[str] = set()

    def _app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/api/datasets/org/set", self._info)
        app.router.add_get("/api/datasets/org/set/revision/main", self._info)
        app.router.add_get("/api/datasets/org/set/tree/main", self._tree)
        app.router.add_get("/api/datasets/org/set/tree/main/{path:.*}", self._tree)
        app.router.add_get("/datasets/org/set/resolve/main/{path:.*}", self._bytes)
        return app

    def _note(self, request: web.Request) -> None:
        self.tokens.add(request.headers.get("Authorization", ""))

    async def _info(self, request: web.Request) -> web.Response:
        self._note(request)
        return web.json_response({"id": "org/set", "sha": "0" * 40})

    async def _tree(self, request: web.Request) -> web.Response:
        """Files and directories below a path, at any depth or directly."""
        self._note(request)
        folder = request.match_info.get("path", "").strip("/")
        start = f"{folder}/" if folder else ""
        deep = request.query.get("recursive", "").lower() == "true"
        found: dict[str, dict[str, str | int]] = {}
        for name, data in self.files.items():
            if not name.startswith(start):
                continue
            parts = name.removeprefix(start).split("/")
            for depth in range(1, len(parts)) if deep else range(1, min(2, len(parts))):
                path = start + "/".join(parts[:depth])
                found[path] = {"type": "directory", "path": path, "oid": "0" * 40, "size": 0}
            if deep or len(parts) == 1:
                oid = hashlib.sha256(data).hexdigest()[:40]
                found[name] = {"type": "file", "path": name, "oid": oid, "size": len(data)}
        if not found:
            raise web.HTTPNotFound(headers={"X-Error-Code": "EntryNotFound"})
        return web.json_response(list(found.values()))

    async def _bytes(self, request: web.Request) -> web.Response:
        self._note(request)
        name = request.match_info["path"]
        self.fetched.append(name)
        part = request.http_range
        return web.Response(body=self.files[name][part.start : part.stop], status=206)


def cli(hub: Hub, *words: str | Path) -> subprocess.CompletedProcess[str]:
    endpoint = hub.url.removesuffix("/v1")
    return subprocess.run(
        [sys.executable, "-m", "clear_pipeline", *map(str, words), "--stages", "load,dedup,export"],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env={**os.environ, "HF_ENDPOINT": endpoint, "HF_TOKEN": TOKEN, "HF_HUB_OFFLINE": "0"},
    )


def test_a_dataset_of_the_hub_is_as_a_local_copy(tmp_path: Path) -> None:
    """The ledger is equal byte for byte, what did not change stays, and no token is written."""
    files = local_copy(tmp_path / "data")
    here = Pipeline(DEDUP).run(tmp_path / "data", out=tmp_path / "here")
    out = tmp_path / "there"
    with Hub(files) as hub:
        first = cli(hub, "run", "hf://datasets/org/set/data", "--out", out)
        assert first.returncode == 0, first.stderr
        assert set(hub.fetched) == {f"data/{name}" for name in files}
        assert (out / "ledger.parquet").read_bytes() == (here.path / "ledger.parquet").read_bytes()
        hub.fetched.clear()

        hub.files["data/a b.jsonl"] = hub.files["data/a b.jsonl"].replace(b"1?", b"7?")
        second = cli(hub, "run", "hf://datasets/org/set/data", "--out", out)
        assert second.returncode == 0, second.stderr
        assert set(hub.fetched) == {"data/a b.jsonl"}

        missing = cli(hub, "run", "hf://datasets/org/set/none", "--out", tmp_path / "none")
        assert missing.returncode == 2
        assert "hf://datasets/org/set/none: no such file or directory that may" in missing.stderr
        assert hub.tokens == {f"Bearer {TOKEN}"}
    for path in out.rglob("*"):
        assert not path.is_file() or TOKEN.encode() not in path.read_bytes()


@pytest.fixture
def emulator(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    running = create_server("127.0.0.1", 0, in_memory=True, default_bucket="bucket")
    running.start()
    host, port = running._api._httpd.server_address
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://{host}:{port}")
    yield running
    running.stop()


def test_google_cloud_storage_is_as_a_local_copy(emulator: Server, tmp_path: Path) -> None:
    """Read from there, and written there; a changed object alone is read again."""
    files = local_copy(tmp_path / "data")
    for name in files:
        (place_at("gs://bucket/my set") / name).put(tmp_path / "data" / name)
    here = Pipeline(DEDUP).run(tmp_path / "data", out=tmp_path / "here")

    there = Pipeline(DEDUP).run("gs://bucket/my set", out=tmp_path / "there")

    ledgers = [(run.path / "ledger.parquet").read_bytes() for run in (here, there)]
    assert ledgers[0] == ledgers[1]
    before = there.manifest.files
    assert all("generation=" in record.stamp for record in before)
    (place_at("gs://bucket/my set") / "a b.jsonl").put(tmp_path / "data" / "deeper" / "ü.jsonl")
    after = Pipeline(DEDUP).run("gs://bucket/my set", out=tmp_path / "there").manifest.files
    assert (after[1], after[0].rows) == (before[1], 3)

    export_run(Run(tmp_path / "here"), "gs://bucket/out", ExportSettings(valid_fraction=0))
    written = (place_at("gs://bucket/out") / "train.jsonl").read()
    export_run(Run(tmp_path / "here"), tmp_path / "out", ExportSettings(valid_fraction=0))
    assert written == (tmp_path / "out" / "train.jsonl").read_bytes()
    with pytest.raises(NothingReadableError, match=r"^gs://bucket/none: no such .*gcloud auth"):
        Pipeline(DEDUP).run("gs://bucket/none", out=tmp_path / "none")
