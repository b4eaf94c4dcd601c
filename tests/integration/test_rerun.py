"""A run directory that is used again: what it says in between, and how a run in a notebook ends."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from clear_pipeline.answer_key import compare, key_beside
from clear_pipeline.config import Config, build_config
from clear_pipeline.errors import DamagedRunError, UsageError
from clear_pipeline.evaluate import Labels
from clear_pipeline.llm.base import Capabilities, ChatRequest, Completion
from clear_pipeline.llm.scripted import ScriptedChat
from clear_pipeline.manifest import Manifest
from clear_pipeline.marking import calibrate_eta, calibrate_run
from clear_pipeline.outputs import export_run
from clear_pipeline.pipeline import Pipeline
from clear_pipeline.run import Run, open_run
from clear_pipeline.stages.base import SilentProgress
from scripted_run import reply


def config(limit: int | None = None) -> Config:
    flags = {"load": {"limit": limit}} if limit else {}
    return build_config(stages=["dedup", "score", "filter"], preset="fast", flags=flags)


def run(data: Path, out: Path, *, limit: int | None = None) -> Run:
    models = {"scorer": ScriptedChat(reply)}
    return Pipeline(config(limit), models=models).run(data, out=out)


def rows(count: int, *, start: int = 0) -> str:
    lines = (f'{{"prompt": "{n} + 1?", "completion": "{n + 1}"}}\n' for n in range(start, count))
    return "".join(lines)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "a.jsonl").write_text(rows(6))
    return folder


def damage_logged(out: Path) -> list[tuple[str, int]]:
    """The stage and the number of files of each event `damaged`."""
    events = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [(each["stage"], each["files"]) for each in events if each["event"] == "damaged"]


class Unnamed(ScriptedChat):
    """Ends a run as a kill would: after the load, before the first stage."""

    @property
    def identity(self) -> str:
        raise ZeroDivisionError


def test_run_with_new_rows_is_not_finished_before_they_are_scored(
    data: Path, tmp_path: Path
) -> None:
    """Rows that were loaded but not scored are never exported, nor is the old ledger shown."""
    out = tmp_path / "run"
    run(data, out)
    (data / "b.jsonl").write_text(rows(12, start=6))
    with pytest.raises(ZeroDivisionError):
        Pipeline(config(), models={"scorer": Unnamed(reply)}).run(data, out=out)
    with pytest.raises(UsageError, match="not finished"):
        export_run(open_run(out), tmp_path / "export", config().export)
    with pytest.raises(UsageError, match="no ledger yet"):
        open_run(out).ledger()
    assert run(data, out).ledger().num_rows == 12


def test_result_of_a_finished_run_is_there_until_the_next_one_is(
    data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A run again that stops before its end leaves the ledger, which then says whose it is."""
    out = tmp_path / "run"
    whole = run(data, out).ledger()
    with pytest.raises(ZeroDivisionError):
        Pipeline(config(), models={"scorer": Unnamed(reply)}).run(data, out=out)
    caplog.clear()
    left = open_run(out)
    assert left.ledger().equals(whole)
    assert left.ledger(["id"]).num_rows == whole.num_rows
    (told,) = (record.getMessage() for record in caplog.records)
    assert told.startswith(f"{out}: this is the result of the run that finished last")
    caplog.clear()
    assert run(data, out).ledger().equals(whole)
    assert not caplog.records


def test_marks_fit_a_finished_run_that_has_what_they_are_fitted_to(
    data: Path, tmp_path: Path
) -> None:
    """Verdicts of a stage that the last run left out are not of it; a stopped run has half."""
    out = tmp_path / "run"
    model, labels = ScriptedChat(reply), Labels({"a.jsonl:1": False})
    roles = dict.fromkeys(("scorer", "candidate", "judge"), model)
    with_rectify = build_config(stages=["score", "filter", "rectify"], preset="fast")
    Pipeline(with_rectify, models=roles).run(data, out=out)
    run(data, out)
    with pytest.raises(UsageError, match="no verdicts; run it with the stage rectify"):
        calibrate_eta(open_run(out), labels, max_damage=0.05)
    with pytest.raises(ZeroDivisionError):
        Pipeline(config(), models={"scorer": Unnamed(reply)}).run(data, out=out)
    with pytest.raises(UsageError, match="not finished; run the same command again first"):
        calibrate_run(open_run(out), labels)


@pytest.mark.parametrize("name", ["ledger.parquet", "quarantine.jsonl"])
def test_damaged_output_is_named_and_written_anew(data: Path, tmp_path: Path, name: str) -> None:
    """A file that was cut is an error with its name; the same run mends it."""
    out = tmp_path / "run"
    run(data, out)
    (out / name).write_bytes(b"{")
    for _ in range(2):
        with pytest.raises(DamagedRunError, match=f"{name}: cannot be read"):
            (open_run(out).ledger if name == "ledger.parquet" else open_run(out).quarantine)()
    run(data, out)
    assert open_run(out).ledger().num_rows == 6
    assert open_run(out).quarantine() == []


def test_lost_shard_is_computed_anew_and_said_so(data: Path, tmp_path: Path) -> None:
    """A stage file that is gone or changed is named as the reason, and the ledger is the same."""
    out = tmp_path / "run"
    whole = run(data, out).ledger()
    (shard,) = (out / "score").iterdir()
    shard.write_bytes(b"")
    progress = SilentProgress()
    models = {"scorer": ScriptedChat(reply)}
    again = Pipeline(config(), models=models, progress=progress).run(data, out=out)
    assert "score: 1 of its files are missing or damaged and computed anew" in progress.notes
    assert again.ledger().equals(whole)
    assert models["scorer"].requests == []
    assert damage_logged(out) == [("score", 1)]


def test_cache_is_mended_before_the_estimate_of_the_run_reads_it(
    data: Path, tmp_path: Path
) -> None:
    """Damaged twice: both times one run sets it aside, asks again and ends as the first did."""
    out, cache = tmp_path / "run", tmp_path / "run" / "llm-cache.sqlite"
    asked = build_config(stages=["score", "filter"], preset="fast")

    def ask() -> tuple[Run, list[str]]:
        models, progress = {"scorer": ScriptedChat(reply)}, SilentProgress()
        chain = Pipeline(asked, models=models, progress=progress, before_calls=lambda _: None)
        return chain.run(data, out=out), progress.notes

    whole = ask()[0].ledger()
    for name in ("llm-cache.sqlite.damaged", "llm-cache.sqlite.damaged-2"):
        shutil.rmtree(out / "score")
        content = bytearray(cache.read_bytes())
        content[4096:8192] = bytes(4096)  # the root of the answers
        cache.write_bytes(content)
        again, notes = ask()
        assert sum(f"set aside as {name}, 0 answers taken over" in note for note in notes) == 1
        assert again.ledger().equals(whole)
        with closing(sqlite3.connect(cache)) as db:
            assert db.execute("PRAGMA quick_check").fetchone() == ("ok",)
    assert {path.name for path in out.glob(f"{cache.name}*")} == {
        "llm-cache.sqlite",
        "llm-cache.sqlite.damaged",
        "llm-cache.sqlite.damaged-2",
    }


@pytest.mark.parametrize("change", [lambda path: path.write_bytes(b"{"), Path.unlink])
@pytest.mark.parametrize("pattern", ["part-*.parquet", "quarantine-*.jsonl"])
def test_lost_rows_are_read_again_and_said_so(
    data: Path, tmp_path: Path, pattern: str, change: Callable[[Path], None]
) -> None:
    """Of two inputs the one whose file in `rows` is gone or changed is named, in the log too."""
    out = tmp_path / "run"
    run(data, out)
    before = set((out / "rows").iterdir())
    (data / "b.jsonl").write_text(rows(9, start=6) + "no row\n")
    whole = run(data, out).ledger()
    (lost,) = set((out / "rows").glob(pattern)) - before
    change(lost)
    progress, model = SilentProgress(), ScriptedChat(reply)
    chain = Pipeline(config(), models={"scorer": model}, progress=progress)
    assert chain.run(data, out=out).ledger().equals(whole)
    damaged = [note for note in progress.notes if "damaged" in note]
    assert damaged == ["b.jsonl: 1 of its files in rows/ are missing or damaged; it is read again"]
    assert model.requests == []
    assert damage_logged(out) == [("load", 1)]


def test_what_the_user_was_told_outlives_a_kill_behind_the_last_shard(
    data: Path, tmp_path: Path
) -> None:
    """The stage computes nothing any more, and its note is still in the report."""
    best = build_config(stages=["score", "filter"], preset="best")
    for _ in range(2):
        model = ScriptedChat(reply, capabilities=Capabilities(logprobs=True, prompt_logprobs=False))
        Pipeline(best, models={"scorer": model}).run(data, out=tmp_path / "run")
        manifest = Manifest.read(tmp_path / "run")
        assert manifest is not None
        score = manifest.stage("score")
        assert score is not None
        assert any("so the likelihood is left out" in note for note in score.notes)
        score.fingerprint = ""
        manifest.save(tmp_path / "run")
    assert model.requests == []


def test_answers_outlive_a_manifest_of_another_version(data: Path, tmp_path: Path) -> None:
    """It is no damage: the run is left alone, and its cache serves a new one, as the error says."""
    old, new = tmp_path / "old", tmp_path / "new"
    whole = run(data, old).ledger()
    manifest = Manifest.read(old)
    assert manifest is not None
    manifest.schema_version = 2  # type: ignore[assignment]
    manifest.save(old)
    with pytest.raises(UsageError, match=r"llm-cache\.sqlite of this directory"):
        run(data, old)
    new.mkdir()
    shutil.copy(old / "llm-cache.sqlite", new)
    model = ScriptedChat(reply)
    again = Pipeline(config(), models={"scorer": model}).run(data, out=new)
    assert again.ledger().equals(whole)
    assert model.requests == []


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_out_that_is_a_file_is_wrong_usage(data: Path, tmp_path: Path, place: str) -> None:
    """A run directory that cannot be made is named."""
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="cannot be used as a run directory"):
        run(data, tmp_path / place)


def test_answer_key_of_rows_that_were_not_read(data: Path, tmp_path: Path) -> None:
    """With a limit, the key's other rows are counted apart; a key of other data is refused."""
    key = tmp_path / "data.key.csv"
    key.write_text("id,fault\na.jsonl:1,wrong\na.jsonl:2,\na.jsonl:6,wrong\n")
    assert key_beside(data) == key
    report = compare(run(data, tmp_path / "run", limit=2), key)
    assert ([fault.rows for fault in report.faults], report.good, report.absent) == ([1], 1, 1)
    key.write_text("id,fault\nother.jsonl:1,wrong\n")
    with pytest.raises(UsageError, match=r"'other\.jsonl:1' is not in the run"):
        compare(open_run(tmp_path / "run"), key)


@pytest.mark.parametrize(
    "text", ["id,fault\na.jsonl:1,x\na.jsonl:2\n", "id,fault\na,b,c\n", "id\n"]
)
def test_a_foreign_file_named_like_a_key_is_no_key(text: str, data: Path, tmp_path: Path) -> None:
    """Rows of other widths are refused with the file's name."""
    key = tmp_path / "data.key.csv"
    key.write_text(text)
    with pytest.raises(UsageError, match=r"data\.key\.csv: expected rows of two columns"):
        compare(run(data, tmp_path / "run"), key)


def test_answer_key_of_the_working_directory(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`run .` works, and finds the key as `run data` does."""
    monkeypatch.chdir(data)
    assert key_beside(Path()) is None
    (tmp_path / "data.key.csv").touch()
    assert key_beside(Path()) == tmp_path / "data.key.csv"


class Stopping:
    """A model in front of which the user presses stop, and which never answers."""

    identity = "stopping"
    capabilities = Capabilities()

    def __init__(self) -> None:
        self._pressed = False

    async def complete(self, request: ChatRequest) -> Completion:
        if not self._pressed:
            self._pressed = True
            os.kill(os.getpid(), signal.SIGINT)
        await asyncio.sleep(20)
        raise AssertionError(request)

    async def close(self) -> None: ...


def test_interrupted_cell_leaves_nothing_running(data: Path, tmp_path: Path) -> None:
    """Stop in a notebook ends the run's thread and frees its directory."""

    async def cell() -> None:
        Pipeline(config(), models={"scorer": Stopping()}).run(data, out=tmp_path / "run")

    loop = asyncio.new_event_loop()  # as in Jupyter, whose loop leaves the signal to Python
    with pytest.raises(KeyboardInterrupt):
        loop.run_until_complete(cell())
    loop.close()
    assert "clear-pipeline" not in {thread.name for thread in threading.enumerate()}
    assert run(data, tmp_path / "run").ledger().num_rows == 6
