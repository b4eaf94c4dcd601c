"""A base by its name on the Hugging Face Hub: a stand-in on loopback, and the hub's own cache."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the extra `train` is not installed")

from aiohttp import web

from clear_pipeline.finetune.lora.source import tokenizer_of
from loopback import LoopbackServer
from lora_rows import training_data
from tiny_llama import tiny_llama

TOKEN = "hf_never_written"
OLD, NEW = "a" * 40, "b" * 40


class Hub(LoopbackServer):
    """As much of the Hub as a model asks for: `org/tiny`, with the branches `main` and `old`.

    Attributes:
        fetched: Names of the files whose bytes were asked for.
        tokens: That came with a request.
        is_gated: Whether files are given to nobody.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.files = {path.name: path.read_bytes() for path in folder.iterdir()}
        self.files |= {"pytorch_model.bin": b"pickled", "onnx/config.json": b"{}"}
        self.fetched: list[str] = []
        self.tokens: set[str] = set()
        self.is_gated = False
        self.commits = {"main": NEW, "old": OLD, NEW: NEW, OLD: OLD}

    def _app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/api/models/org/tiny", self._info)
        app.router.add_get("/api/models/org/tiny/revision/{revision}", self._info)
        app.router.add_get("/api/models/org/tiny/tree/{revision}", self._tree)
        app.router.add_get("/org/tiny/resolve/{revision}/{path:.*}", self._bytes)
        app.router.add_get("/api/models/{path:.*}", self._nothing)
        return app

    async def _nothing(self, request: web.Request) -> web.Response:
        raise web.HTTPNotFound(headers={"X-Error-Code": "RepoNotFound"})

    def _commit(self, request: web.Request) -> str:
        self.tokens.add(request.headers.get("Authorization", ""))
        revision = request.match_info.get("revision", "main")
        if revision not in self.commits:
            raise web.HTTPNotFound(headers={"X-Error-Code": "RevisionNotFound"})
        return self.commits[revision]

    async def _info(self, request: web.Request) -> web.Response:
        listed = [{"rfilename": name, "size": len(data)} for name, data in self.files.items()]
        sha = self._commit(request)
        return web.json_response({"id": "org/tiny", "sha": sha, "siblings": listed})

    async def _tree(self, request: web.Request) -> web.Response:
        self._commit(request)
        return web.json_response(
            [
                {"type": "file", "path": name, "oid": _oid(data), "size": len(data)}
                for name, data in self.files.items()
            ]
        )

    async def _bytes(self, request: web.Request) -> web.Response:
        commit = self._commit(request)
        if self.is_gated:
            raise web.HTTPForbidden(headers={"X-Error-Code": "GatedRepo"})
        data = self.files[request.match_info["path"]]
        if request.method == "GET":
            self.fetched.append(request.match_info["path"])
        headers = {"X-Repo-Commit": commit, "ETag": f'"{_oid(data)}"'}
        return web.Response(body=data, headers=headers)


def _oid(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:40]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """The files of the model."""
    base = tmp_path / "base"
    tiny_llama(tmp_path / "tiny.gguf").save_pretrained(base)
    tokenizer_of(tmp_path / "tiny.gguf").save_pretrained(base)
    return base


def finetune(
    folder: Path, base: str, out: str, *, endpoint: str, **env: str
) -> subprocess.CompletedProcess[str]:
    data = training_data(folder)
    words = ["finetune", str(data.train), "--valid", str(data.valid), "--out", str(folder / out)]
    for assignment in (f"base={base}", "epochs=1", "batch_size=4"):
        words += ["--set", assignment]
    given = {"HF_ENDPOINT": endpoint, "HF_HOME": str(folder / "hf"), "HF_HUB_OFFLINE": "0", **env}
    return subprocess.run(
        [sys.executable, "-m", "clear_pipeline", *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
        env={**os.environ, "HF_TOKEN": TOKEN, **given},
    )


def claimed(folder: Path, out: str) -> str:
    settings = json.loads((folder / out / "training.json").read_bytes())["settings"]
    return str(settings["base"])


def test_a_name_of_the_hub(tmp_path: Path, model: Path) -> None:
    """It is fetched once, by its commit, without pickles; that commit is kept, and no token.

    Where the hub is gone, or may not be asked, the same command goes on from its cache.
    """
    with Hub(model) as hub:
        endpoint = hub.url.removesuffix("/v1")
        first = finetune(tmp_path, "org/tiny", "out", endpoint=endpoint)
        assert first.returncode == 0, first.stderr
        assert "fetching org/tiny@bbbbbbbbbbbb of the Hugging Face Hub: " in first.stderr
        assert claimed(tmp_path, "out") == f"hub:org/tiny@{NEW}"
        assert sorted(hub.fetched) == sorted(path.name for path in model.iterdir())
        assert hub.tokens == {f"Bearer {TOKEN}"}
        assert (tmp_path / "out" / "model" / "model.safetensors").is_file()
        old = finetune(tmp_path, "org/tiny@old", "old", endpoint=endpoint)
        assert old.returncode == 0, old.stderr
        assert claimed(tmp_path, "old") == f"hub:org/tiny@{OLD}"
        fetched = len(hub.fetched)
        (tmp_path / "out" / "trained.json").unlink()
        same = finetune(tmp_path, f"org/tiny@{NEW}", "out", endpoint=endpoint)
        assert same.returncode == 0, same.stderr
        assert len(hub.fetched) == fetched
    for env in ({}, {"HF_HUB_OFFLINE": "1"}):
        (tmp_path / "out" / "trained.json").unlink()
        again = finetune(tmp_path, "org/tiny", "out", endpoint=endpoint, **env)
        assert again.returncode == 0, again.stderr
    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert TOKEN.encode() not in kept


def test_what_the_hub_does_not_give(tmp_path: Path, model: Path) -> None:
    """No such name, no such revision, terms to accept, no network: a line each, with what to do."""
    with Hub(model) as hub:
        endpoint = hub.url.removesuffix("/v1")
        told = {
            "org/other": "shows no such model; for a private one type hf auth login",
            "org/tiny@new": "org/tiny has no revision new",
        }
        for base, wanted in told.items():
            failed = finetune(tmp_path, base, "out", endpoint=endpoint)
            assert (failed.returncode, wanted in failed.stderr) == (2, True), failed.stderr
            assert "Traceback" not in failed.stderr
        hub.is_gated = True
        gated = finetune(tmp_path, "org/tiny", "out", endpoint=endpoint)
        assert "do so at https://huggingface.co/org/tiny, then type hf auth login" in gated.stderr
    gone = finetune(tmp_path, "org/tiny", "out", endpoint=endpoint)
    assert "hf download org/tiny --local-dir DIR, and name DIR" in gone.stderr
    assert not (tmp_path / "out" / "training.json").exists()
