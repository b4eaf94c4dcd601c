"""The files of a run: damaged, full, read-only, copied, held by two; never a wrong result."""

from __future__ import annotations

import asyncio
import fnmatch
import json
import os
import re
import resource
import shutil
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from clear_pipeline.errors import DamagedRunError, RunLockedError
from clear_pipeline.llm.base import ChatRequest
from clear_pipeline.llm.cache import Cached
from clear_pipeline.llm.meter import Meter
from clear_pipeline.llm.scripted import ScriptedChat
from clear_pipeline.run import open_run
from clear_pipeline.schema import Message
from clear_pipeline.store import Store

TESTS = Path(__file__).parents[1]
DEMO = TESTS.parent / "data" / "demo"
OUTPUTS = ("ledger.parquet", "quarantine.jsonl", "DATASET_CARD.md", "config.yaml")


def scripted(
    out: Path, *, limit_bytes: int | None = None, prefix: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    """The chain with the scripted model, in a process whose files may have so many bytes."""

    def limited() -> None:
        if limit_bytes is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes))

    command = [*prefix, sys.executable, str(TESTS / "scripted_run.py"), str(DEMO), str(out)]
    return subprocess.run(
        command, check=False, timeout=600, text=True, capture_output=True, preexec_fn=limited
    )


def files(run: Path) -> dict[str, bytes]:
    """What a run hands over."""
    paths = [run / name for name in OUTPUTS] + sorted((run / "export").iterdir())
    return {str(path.relative_to(run)): path.read_bytes() for path in paths}


def calls(run: Path) -> int:
    """Model calls of the latest session."""
    return int((run / "events").read_text().split()[1])


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("calm") / "run"
    assert scripted(out).returncode == 0
    return out


@pytest.fixture
def copy(calm: Path, tmp_path: Path) -> Path:
    return shutil.copytree(calm, tmp_path / "copy")


def flip(path: Path) -> None:
    """Turn one bit in the middle."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def tear(path: Path) -> None:
    """Lose the second half."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def lose(path: Path) -> None:
    path.unlink()


PARTS = ("rows/part-*", "rows/quarantine-*", "dedup/part-*", "score/part-*", "filter/part-*")
WRITTEN = (*OUTPUTS, "report.html", "export/train.jsonl", "export/removed.jsonl")


@pytest.mark.parametrize("damage", [flip, tear, lose])
@pytest.mark.parametrize("patterns", [PARTS, WRITTEN], ids=["parts", "written"])
def test_damage_is_mended_without_a_call(
    calm: Path, copy: Path, patterns: tuple[str, ...], damage: Callable[[Path], None]
) -> None:
    """Whatever is flipped, torn or lost: the same run gives the same bytes and asks nothing."""
    for pattern in patterns:
        damage(min(copy.glob(pattern)))
    assert scripted(copy).returncode == 0
    assert files(copy) == files(calm)
    assert calls(copy) == 0


@pytest.mark.parametrize("damage", [flip, tear, lose])
def test_damaged_manifest_gives_way_to_the_one_before(
    calm: Path, copy: Path, damage: Callable[[Path], None]
) -> None:
    """The run goes on from the previous manifest; with both damaged it is computed anew, named."""
    damage(copy / "manifest.json")
    assert open_run(copy).manifest.chain == open_run(calm).manifest.chain
    if damage is not lose:
        damage(copy / "manifest.json.previous")
        with pytest.raises(DamagedRunError, match=r"manifest\.json: (is cut|does not match)"):
            open_run(copy)
    ended = scripted(copy)
    assert ended.returncode == 0
    assert files(copy) == files(calm)
    assert calls(copy) == 0
    if damage is not lose:
        assert "manifest.json.previous.damaged; everything is computed anew" in ended.stdout


def wreck(path: Path) -> None:
    """Leave no page that SQLite could start from."""
    path.write_bytes(b"\0" * path.stat().st_size)


@pytest.mark.parametrize(("damage", "saves"), [(tear, True), (wreck, False)])
def test_damaged_cache_is_set_aside_and_what_is_sound_of_it_kept(
    calm: Path, copy: Path, damage: Callable[[Path], None], *, saves: bool
) -> None:
    """With the stages lost as well, answers that can be read are taken over, the rest is asked."""
    with_all = int((calm / "events").read_text().split()[1])
    damage(copy / "llm-cache.sqlite")
    for folder in ("score", "cascade", "second_opinion", "rectify"):
        shutil.rmtree(copy / folder)
    ended = scripted(copy)
    assert ended.returncode == 0
    assert "llm-cache.sqlite: damaged (" in ended.stdout
    assert (copy / "llm-cache.sqlite.damaged").is_file()
    # Tokens are counted by request, and other requests were sent; all else is as it was.
    whole, mended = (open_run(run).ledger().drop_columns(["cascade_cost"]) for run in (calm, copy))
    assert mended.equals(whole)
    assert (calls(copy) < with_all) is saves


def test_flipped_rows_of_the_cache_are_asked_again_alone(tmp_path: Path) -> None:
    """Of ten answers three are damaged, in value, checksum and key: three calls make them good."""
    path = tmp_path / "llm-cache.sqlite"
    ask = [ChatRequest((Message("user", f"q{n}"),), 8, 0.0) for n in range(10)]

    def session() -> list[str]:
        async def texts() -> list[str]:
            cached = Cached(model, path=path, meter=Meter())
            got = [(await cached.complete(request)).choices[0].text for request in ask]
            await cached.close()
            return got

        return asyncio.run(texts())

    model = ScriptedChat(lambda request, _: f"reply to {request.messages[0].text}")
    first = session()
    with closing(sqlite3.connect(path)) as db:
        keys = [key for (key,) in db.execute("SELECT key FROM answers ORDER BY key")]
        value, checksum, key = keys[0], keys[4], keys[9]
        db.execute("UPDATE answers SET value = CAST(value || x'20' AS BLOB) WHERE key = ?", [value])
        db.execute("UPDATE answers SET checksum = CAST(x'ff' AS TEXT) WHERE key = ?", [checksum])
        db.execute("UPDATE answers SET key = 'x' WHERE key = ?", [key])
        db.commit()
    model.requests.clear()
    assert session() == first
    assert len(model.requests) == 3


@pytest.mark.parametrize("room", [2_000, 8_000, 24_000, 70_000])
def test_full_disk_is_told_in_one_line_and_the_same_command_resumes(
    calm: Path, tmp_path: Path, room: int
) -> None:
    """No file may grow beyond the room: exit 1, the file is named, and more room goes on."""
    out = tmp_path / "run"
    ended = scripted(out, limit_bytes=room)
    assert ended.returncode == 1
    (said,) = ended.stderr.strip().splitlines()
    assert said.startswith(f"{out}/")
    assert "cannot be written (" in said
    assert "the same command goes on" in said
    assert scripted(out).returncode == 0
    assert files(out) == files(calm)


def test_read_only_directory_is_told_before_any_call(tmp_path: Path) -> None:
    """A directory that may not be written: wrong usage, named; nothing was asked."""
    out = tmp_path / "run"
    out.mkdir()
    out.chmod(0o555)
    prefix = ("setpriv", "--bounding-set", "-dac_override") if os.getuid() == 0 else ()
    if prefix and shutil.which(prefix[0]) is None:
        pytest.skip("root may write anywhere, and there is no setpriv to give that up")
    ended = scripted(out, prefix=prefix)
    assert ended.returncode == 2
    assert ended.stderr == (
        f"{out}: cannot be used as a run directory (Permission denied); give another --out\n"
    )


def test_no_file_says_where_the_run_was_made(calm: Path) -> None:
    """A run directory may be copied or handed on: it does not know where it lies."""
    for path in calm.rglob("*"):
        if path.is_file():
            assert str(calm.parent).encode() not in path.read_bytes(), path


def test_second_process_is_told_who_holds_the_run(tmp_path: Path) -> None:
    """Process, machine and since when; after the first has ended, the run is free."""
    store = Store(tmp_path)
    with store.locked():
        who = rf"in use by process {os.getpid()} of this machine \(running\), since 20\d\d-"
        with pytest.raises(RunLockedError, match=who), Store(tmp_path).locked():
            pass
    with Store(tmp_path).locked():
        pass


@pytest.mark.parametrize(
    ("host", "said"),
    [(None, "of this machine (it has ended)"), ("node-7", "on the machine node-7")],
)
def test_stale_lock_is_recognised_and_taken_over(
    tmp_path: Path, host: str | None, said: str
) -> None:
    """A name that a killed process left, here or on another machine, holds nobody up."""
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    left = {"process": gone.pid, "host": host or socket.gethostname(), "since": "2026-01-02"}
    (tmp_path / ".lock-holder").write_text(json.dumps(left))
    notes: list[str] = []
    with Store(tmp_path).locked(notes.append):
        pass
    who = f"process {gone.pid} {said}, since 2026-01-02,"
    assert notes == [f"{who} held this run and ended without giving it back; going on"]
    assert not (tmp_path / ".lock-holder").exists()


def test_leftovers_are_swept_and_nothing_else(calm: Path, copy: Path) -> None:
    """Temporary files of killed processes and parts that no manifest names go; other files stay."""
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    left = [
        copy / f".manifest.json.{gone.pid}.tmp", copy / "score" / f".part-0.parquet.{gone.pid}.tmp",
        copy / "score" / "part-0123456789abcdef.parquet", copy / f".export.{gone.pid}.tmp",
        copy / "rows" / "quarantine-0123456789abcdef.jsonl",
    ]  # fmt: skip
    mine = [
        copy / "notes.txt", copy / "score" / "part-of-mine.parquet", copy / ".env",
        copy / f".export.{os.getpid()}.tmp",
    ]  # fmt: skip
    for path in (*left, *mine):
        path.touch()
    assert scripted(copy).returncode == 0
    assert [path for path in left if path.exists()] == []
    assert all(path.exists() for path in mine)
    assert files(copy) == files(calm)


def test_every_file_of_a_run_is_documented(calm: Path) -> None:
    """The table of docs/run-directory.md names all files that a live run leaves, and no other."""
    page = (TESTS.parent / "docs" / "run-directory.md").read_text(encoding="utf-8")
    table = page.partition("\n## ")[0]
    named = re.findall(r"^\| `([^`]+)` \|", table, re.MULTILINE)
    while_it_runs = {".lock-holder", "manifest.json.journal"}
    in_batches = {name for name in named if name.startswith("batches/")}
    ours = {p.relative_to(calm).as_posix() for p in calm.rglob("*") if p.is_file()} - {"events"}
    matched = {name: fnmatch.filter(ours, name.replace("STAGE", "*")) for name in named}
    assert {name for name, found in matched.items() if not found} == while_it_runs | in_batches
    assert ours == {file for found in matched.values() for file in found}
