"""A directory becomes a run's own before anything is written into it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from clear_pipeline.config import build_config
from clear_pipeline.errors import NothingReadableError, RunLockedError, RunMismatchError, UsageError
from clear_pipeline.pipeline import Pipeline
from clear_pipeline.run import open_run
from clear_pipeline.store import Store

ROW = '{"prompt": "p", "completion": "c"}\n'
DEDUP = build_config(stages=["dedup"])


def rows(path: Path) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(ROW)
    return path


def test_a_directory_of_others_is_left_as_it_is(tmp_path: Path) -> None:
    """It is refused by the name of a file in it, and no lock or log is left behind."""
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "notes.txt").write_text("mine")
    with pytest.raises(RunMismatchError, match=r"foreign: holds no run but notes\.txt;"):
        Pipeline(DEDUP).run(rows(tmp_path / "d.jsonl"), out=foreign)
    assert [path.name for path in foreign.iterdir()] == ["notes.txt"]


def test_a_run_that_was_killed_at_its_first_manifest_is_begun_again(tmp_path: Path) -> None:
    """By the same command, whichever process now has the number of the one that was killed."""
    out = tmp_path / "run"
    out.mkdir()
    for process in (os.getppid(), 2**22 + 1):
        (out / f".manifest.json.{process}.tmp").write_text("{")
    Pipeline(DEDUP).run(rows(tmp_path / "d.jsonl"), out=out)
    assert open_run(out).manifest.finished


def test_data_that_is_not_there_makes_no_directory(tmp_path: Path) -> None:
    """A slip in the name of DATA leaves nothing to be tidied up."""
    with pytest.raises(NothingReadableError):
        Pipeline(DEDUP).run(tmp_path / "nowhere", out=tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_a_run_of_other_data_keeps_its_log(tmp_path: Path) -> None:
    """The log of a run has no line of a command that was refused."""
    out = tmp_path / "run"
    Pipeline(DEDUP).run(rows(tmp_path / "one" / "d.jsonl"), out=out)
    before = (out / "log.jsonl").read_bytes()
    other = tmp_path / "other.jsonl"
    other.write_text('{"prompt": "q", "completion": "c"}\n')
    with pytest.raises(RunMismatchError):
        Pipeline(DEDUP).run(other, out=out)
    assert (out / "log.jsonl").read_bytes() == before


@pytest.mark.parametrize("stopped", [False, True])
def test_a_run_directory_within_data_is_no_data(tmp_path: Path, stopped: bool) -> None:  # noqa: FBT001
    """Neither in its first run nor in a second one, however early the first was stopped."""
    data = rows(tmp_path / "data" / "d.jsonl").parent
    out = data / "run"
    if stopped:
        other = build_config(
            stages=["dedup"], assignments=["load.map={prompt: nope, response: completion}"]
        )
        with pytest.raises(UsageError):
            Pipeline(other).run(data, out=out)
    first = Pipeline(DEDUP).run(data, out=out)
    assert [file.path for file in first.manifest.files] == ["d.jsonl"]
    skipped = [(file.path, file.reason) for file in first.manifest.skipped]
    assert skipped == ([("run/", "a run directory")] if stopped else [])
    assert [file.path for file in open_run(out).manifest.files] == ["d.jsonl"]


def test_a_map_that_no_file_has_is_refused(tmp_path: Path) -> None:
    """The message names what was mapped and the columns that are there."""
    rows(tmp_path / "data" / "d.jsonl")
    map_ = "load.map={prompt: nope, response: completion}"
    config = build_config(stages=["dedup"], assignments=[map_])
    told = r"no file has the columns of prompt=nope, .*\n  d\.jsonl: prompt, completion$"
    with pytest.raises(UsageError, match=told):
        Pipeline(config).run(tmp_path / "data", out=tmp_path / "run")


def test_a_map_may_be_of_some_files(tmp_path: Path) -> None:
    """A file without the mapped columns is read as it is."""
    rows(tmp_path / "data" / "a.jsonl")
    (tmp_path / "data" / "b.jsonl").write_text('{"q": "p2", "a": "c2"}\n')
    config = build_config(stages=["dedup"], assignments=["load.map={prompt: q, response: a}"])
    run = Pipeline(config).run(tmp_path / "data", out=tmp_path / "run")
    assert sum(file.rows for file in run.manifest.files) == 2


def test_a_lock_is_told_without_stray_commas(tmp_path: Path) -> None:
    """Who holds a run, since when, and what to do, in one sentence."""
    with Store(tmp_path).locked():
        holding = pytest.raises(RunLockedError, match=r"since [0-9T:+-]+; wait for it")
        with holding, Store(tmp_path).locked():
            pass
