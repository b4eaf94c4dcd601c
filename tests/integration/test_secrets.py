"""A key goes to its endpoint and nowhere else, even where the endpoint repeats it."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from aiohttp import web

from clear_pipeline.errors import UsageError
from clear_pipeline.llm.base import Choice, Completion, Token, Usage
from clear_pipeline.llm.keys import read_key, spelled_without_key, without_key, without_secrets
from clear_pipeline.llm.settings import ModelSettings
from stub_server import Body, StubServer, answer, completion, status

DEMO = Path(__file__).parents[2] / "data" / "demo"
CANARY = "sk-nightingale-5f1d0c77e2b94a68"
HINT = "nightingale"
"""No part of the key may show, however it is cut."""


class Parrot:
    """Answers, and now and then repeats the key: in an error, a reply, the model's name.

    The log-probabilities of such a reply spell it in tokens of five characters.
    """

    def __init__(self, server: StubServer) -> None:
        self._server = server
        self.repeated = 0

    async def __call__(self, body: Body) -> web.StreamResponse:
        key, turn = self._server.keys[-1], len(self._server.keys)
        if turn % 15 == 0:
            self.repeated += 1
            return await status(400, message=f"{'x' * 280} key {key}", code=key)(body)
        if turn % 7 == 0:
            self.repeated += 1
            reply = completion(body)
            reply["model"] = f"stub for {key}"
            for choice in reply["choices"]:
                choice["message"]["content"] += f" {key}"
                choice["message"]["reasoning_content"] = f"they gave me {key}"
                if "logprobs" in choice:
                    choice["logprobs"]["content"] += spelled(key)
            return web.json_response(reply)
        return await answer(body)


def spelled(key: str) -> list[Body]:
    """A key in tokens of five characters, each with itself and one of equal length beside it."""
    pieces = [key[at : at + 5] for at in range(0, len(key), 5)]
    return [
        {
            "token": piece,
            "logprob": -0.1,
            "top_logprobs": [{"token": piece, "logprob": -0.1}, {"token": "12345", "logprob": -3}],
        }
        for piece in pieces
    ]


def cli(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "clear_pipeline", *map(str, arguments)],
        capture_output=True, text=True, check=False, timeout=600,
        env={**os.environ, "COLUMNS": "200", **environment},
    )  # fmt: skip


def written(folder: Path) -> Iterator[tuple[Path, str]]:
    """All that lies in a directory, as text; Parquet is read, and stored tokens are joined."""
    for path in sorted(folder.rglob("*")):
        if path.name == "llm-cache.sqlite":
            with closing(sqlite3.connect(path)) as db:
                for (value,) in db.execute("SELECT value FROM answers"):
                    tokens = json.loads(value)["tokens"] or []
                    yield path, "".join(text for text, *_ in tokens)
                    yield path, "".join(top[0][0] for *_, top in tokens if top)
        if path.suffix == ".parquet":
            yield path, str(pq.read_table(path).to_pylist())
        if path.is_file():
            yield path, path.read_bytes().decode("utf-8", "replace")


@pytest.mark.parametrize("given", ["environment", "file"])
def test_canary_key_is_nowhere(tmp_path: Path, given: str) -> None:
    """The endpoint gets the key; no file of the run and no line of a command holds a part of it."""
    out = tmp_path / "run"
    (tmp_path / "endpoint.txt").write_text(f"{CANARY}\n")
    (tmp_path / "endpoint.txt").chmod(0o600)
    source, environment = {
        "environment": ("api_key_env=STUB_KEY", {"STUB_KEY": CANARY}),
        "file": (f"api_key_file={tmp_path / 'endpoint.txt'}", {}),
    }[given]
    with StubServer() as server:
        server.answer_with(parrot := Parrot(server))
        address = ("--base-url", server.url, "--model", "stub", "--preset", "fast")
        settings = ("--set", f"models.scorer.{source}", "--set", "score.max_failed_fraction=0.9")
        judge = ("--set", "rectify.max_failed_fraction=0.9")
        said = [cli("run", DEMO, "--out", out, *address, *settings, *judge, **environment)]
        assert said[0].returncode == 0, said[0].stderr
        row = first_id(out)
        said += [cli(*command) for command in (
            ("status", out), ("status", out, "--json"), ("explain", out, row),
            ("explain", out, row, "--json"), ("rows", out, "--json"), ("report", out),
            ("export", out, "--out", tmp_path / "run" / "again", "--format", "parquet"),
        )]  # fmt: skip
        server.faults.append(status(401, message=f"no access for {CANARY}"))
        said.append(cli("probe", DEMO, "--out", out / "probe", *address, *settings, **environment))
    assert [ended.returncode for ended in said] == [0] * 8 + [1]
    assert "refuses access" in said[-1].stderr
    assert set(server.keys) == {CANARY}
    assert parrot.repeated > 10
    for ended in said:
        assert HINT not in ended.stdout + ended.stderr
    for path, text in written(out):
        assert HINT not in text, path


def first_id(out: Path) -> str:
    return str(pq.read_table(out / "ledger.parquet", columns=["id"])["id"][0])


@pytest.mark.parametrize("option", [
    ("--base-url", f"https://user:{CANARY}@example.org/v1", "--model", "m"),
    ("--base-url", f"https://{CANARY}@example.org/v1", "--model", "m"),
    ("--base-url", f"https://example.org/v1?key={CANARY}", "--model", "m"),
    ("--set", f"models.scorer.api_key={CANARY}"),
    ("--set", f"models.scorer.api_key_env={CANARY}"),
    ("--set", "models.scorer.api_key_env=gsk_nightingaleOfLettersAlone"),
    ("--set", f"models.scorer.api_key_file={CANARY}"),
    ("--set", f"models.scorer.api_key_env: {CANARY}"),
    ("--set", f"models.scorer=https://user:{CANARY}@example.org/v1"),
])  # fmt: skip
def test_key_in_the_wrong_place_is_refused_and_not_repeated(
    tmp_path: Path, option: tuple[str, ...]
) -> None:
    """In a URL, an unknown setting, in place of a variable or a file: exit 2, no key shown."""
    ended = cli("run", DEMO, "--out", tmp_path / "run", *option)
    assert ended.returncode == 2
    assert HINT not in ended.stdout + ended.stderr
    assert not (tmp_path / "run").exists()


def settings(path: Path) -> ModelSettings:
    return ModelSettings(model="m", base_url="http://127.0.0.1:1/v1", api_key_file=path)


def test_key_file_is_read_without_its_line_feed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """One that others can read is warned about, once it is read; one of 0600 is not."""
    file = tmp_path / "key"
    file.write_text(f"\n{CANARY}\r\n")
    file.chmod(0o600)
    assert read_key(settings(file)) == CANARY
    assert caplog.messages == []
    file.chmod(0o644)
    assert read_key(settings(file)) == CANARY
    (message,) = caplog.messages
    assert message.endswith("chmod 600 it")


@pytest.mark.parametrize(
    "text", ["", "\n", f"{CANARY}\n{CANARY}", f"KEY = {CANARY}", "nightingaleé"]
)
def test_file_without_a_key_is_named_and_not_shown(tmp_path: Path, text: str) -> None:
    """Empty, two lines, an assignment, no ASCII: none of it goes into a header."""
    (tmp_path / "key").write_text(text)
    with pytest.raises(UsageError, match=str(tmp_path)) as raised:
        read_key(settings(tmp_path / "key"))
    assert HINT not in str(raised.value)


def test_a_key_in_pieces_is_cut_out_of_a_reply() -> None:
    """The tokens spell `[key]`, from where it begins; what stands around it stays, with its top.

    Text and thoughts, which may be joined from parts, have none either.
    """
    top = (("A", -0.5), ("sk-nig", -1.0))
    pieces = ("A", "B: sk-nig", "htingale-5f1d0c77", "e2b94a68.", "")
    tokens = tuple(Token(text, -float(n), top) for n, text in enumerate(pieces))
    reply = Completion((Choice(f"A {CANARY}", "stop", tokens, None, CANARY),), "m", Usage(1))
    got = spelled_without_key(reply, CANARY)
    cleaned = (
        Token("A", 0.0, top), Token("B: [key]", -1.0), Token("", -2.0), Token(".", -3.0),
        Token("", -4.0, top),
    )  # fmt: skip
    assert got == Completion((Choice("A [key]", "stop", cleaned, None, "[key]"),), "m", Usage(1))
    assert spelled_without_key(reply, None) == reply
    none = Completion((Choice("Yes", "stop", None), Choice("No", "stop", ())), "m")
    assert spelled_without_key(none, CANARY) == none


def test_keys_are_cut_out_of_any_json() -> None:
    """Names and values at any depth; a short key is a word and stays."""
    said = {"a": [f"x{CANARY}y", 1, None, {CANARY: CANARY}]}
    assert without_key(said, CANARY) == {"a": ["x[key]y", 1, None, {"[key]": "[key]"}]}
    assert without_key("EMPTY handed", "EMPTY") == "EMPTY handed"
    assert without_secrets("via http://u:p@proxy:3128/ no", None) == "via http://proxy:3128/ no"
