"""The commands that a command suggests: typed one after the other, they come to an end."""

from __future__ import annotations

import json
import os
import shlex
import socket
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from clear_pipeline.cli import app
from clear_pipeline.config import build_config
from clear_pipeline.errors import UsageError
from clear_pipeline.pipeline import Pipeline
from clear_pipeline.report import views
from clear_pipeline.report.adapter import report_data
from clear_pipeline.report.next_commands import from_here
from clear_pipeline.run import Run, open_run
from clear_pipeline.store import Store
from report_runs import demo_run

LOOKS = ["run", "status", "report", "rows", "explain"]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Run:
    out = tmp_path_factory.mktemp("my runs") / "it's"
    return demo_run(out, stages=["dedup", "score", "filter", "rectify"])


def suggested(words: list[str]) -> list[str]:
    """The words of the one command that this one suggests."""
    result = CliRunner().invoke(app, words, catch_exceptions=False, env={"COLUMNS": "160"})
    assert result.exit_code == 0, result.output
    (line,) = [line for line in result.stdout.splitlines() if line.startswith("next: ")]
    return shlex.split(line.removeprefix("next: "))


def followed(words: list[str]) -> list[str]:
    """What is typed by who does as told, the name of each command; the last is none of ours."""
    typed = []
    while True:
        typed.append(words[0])
        program, *words = suggested(words)
        if program != "clear-pipeline":
            assert Path(words[-1]).read_text(encoding="utf-8").count("\n") > 0
            return [*typed, program]


def test_the_way_leads_from_a_run_to_its_training_file(tmp_path: Path) -> None:
    """Removed rows, one of them explained, the file: no command is suggested twice."""
    data, out = tmp_path / "d.jsonl", tmp_path / "run"
    data.write_text(2 * '{"prompt": "p", "completion": "c"}\n')
    words = ["run", str(data), "--out", str(out), "--stages", "dedup"]
    rows = ["rows", str(out), "--fate", "duplicate"]
    assert suggested(words) == ["clear-pipeline", *rows]
    assert suggested(rows) == ["clear-pipeline", "explain", str(out), "d.jsonl:2"]
    assert followed(words) == ["run", "rows", "explain", "head"]


@pytest.mark.parametrize("name", ["-x.jsonl", "a\u200f 'b.jsonl", "\x1b[2J.jsonl"])
def test_a_row_of_a_file_with_an_odd_name_can_be_explained_as_told(
    tmp_path: Path, name: str
) -> None:
    """A name that begins as an option, and one of which a terminal shows no character."""
    data, out = tmp_path / "data", tmp_path / "run"
    data.mkdir()
    (data / name).write_text(2 * '{"prompt": "p", "completion": "c"}\n')
    words = ["run", str(data), "--out", str(out), "--stages", "dedup"]
    assert followed(words) == ["run", "rows", "explain", "head"]


def test_a_word_that_is_no_text_names_no_row(demo: Run) -> None:
    """As a shell hands over a file name of another encoding; the message can be typed as it is."""
    with pytest.raises(UsageError, match=r"no row 'caf\\udce9:1' .* rows '/.*' lists them"):
        CliRunner().invoke(app, ["explain", str(demo.path), "caf\udce9:1"], catch_exceptions=False)


def test_the_report_calls_its_directory_by_name_wherever_one_stands(
    demo: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Opened as the directory where one is: its commands name it all the same."""
    monkeypatch.chdir(demo.path)
    told = [shlex.split(command) for _, command in report_data(open_run(".")).commands]
    assert {words[2] for words in told} == {demo.path.name}


@pytest.mark.parametrize("look", LOOKS[1:])
def test_no_look_leads_back(demo: Run, look: str) -> None:
    """From wherever one starts, what comes is further on, and comes once."""
    row = demo.ledger(["id"])["id"][0].as_py()
    more = {"explain": [row], "rows": ["--fate", "kept"]}.get(look, [])
    typed = followed([look, str(demo.path), *more])
    assert typed[-1] == "head"
    ranks = [LOOKS.index(name) for name in typed[:-1]]
    assert ranks == sorted(set(ranks))


def test_after_a_run_its_status_suggests_something_new(demo: Run) -> None:
    """The two are typed in a row; the second names another way on."""
    assert suggested(["status", str(demo.path)]) == ["clear-pipeline", "report", str(demo.path)]


@pytest.mark.parametrize("fate", ["filtered", "rectified", "contaminated"])
def test_a_list_of_rows_leads_to_one_of_them(demo: Run, fate: str) -> None:
    """The first that was shown; where none is, one that the run removed."""
    words = suggested(["rows", str(demo.path), "--fate", fate])
    told = views.rows_json(demo, fate=fate, limit=1) or views.rows_json(demo, fate="filtered")
    assert words == ["clear-pipeline", "explain", str(demo.path), told[0]["id"]]


def test_a_run_that_removed_nothing_leads_to_its_training_file(tmp_path: Path) -> None:
    """There is no row to look at."""
    data, out = tmp_path / "d.jsonl", tmp_path / "run"
    data.write_text('{"prompt": "p", "completion": "c"}\n')
    words = suggested(["run", str(data), "--out", str(out), "--stages", "dedup"])
    assert words == ["head", "-n", "3", str(out / "export" / "train.jsonl")]


def test_an_export_is_shown_in_its_format(demo: Run, tmp_path: Path) -> None:
    """A Parquet file by pandas, also under a name that has to be quoted."""
    out = tmp_path / "it's"
    words = ["export", str(demo.path), "--format", "parquet", "--out", str(out)]
    program, option, code = suggested(words)
    assert (program, option) == ("python", "-c")
    assert repr(str(out / "train.parquet")) in code
    assert len(pd.read_parquet(out / "train.parquet")) > 0


def test_a_run_that_stopped_leads_to_its_end(tmp_path: Path) -> None:
    """Its own data, directory and config: the command can be typed as it is."""
    data, out = tmp_path / "d.jsonl", tmp_path / "my run"
    data.write_text(2 * '{"prompt": "p", "completion": "c"}\n')
    config = build_config(stages=["dedup"], assignments=["export.format=alpaca"])
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        Pipeline(config).run("d.jsonl", out="my run")
    manifest = json.loads((out / "manifest.json").read_text())
    (out / "manifest.json").write_text(json.dumps({**manifest, "finished": False}))
    words = ["run", str(data), "--out", str(out), "--config", str(out / "config.yaml")]
    assert suggested(["status", str(out)]) == ["clear-pipeline", *words]
    assert views.status_json(open_run(out))["next"] == [from_here(open_run(out))]
    assert suggested(words)[1] == "rows"
    assert open_run(out).manifest.export["format"] == "alpaca"


def stopped_run(folder: Path) -> Path:
    """The directory of a run that is not finished."""
    data, out = folder / "d.jsonl", folder / "run"
    data.write_text('{"prompt": "p", "completion": "c"}\n')
    Pipeline(build_config(stages=["dedup"])).run(data, out=out)
    manifest = json.loads((out / "manifest.json").read_text())
    (out / "manifest.json").write_text(json.dumps({**manifest, "finished": False}))
    return out


def status_lines(out: Path) -> list[str]:
    """What `status` says below its table."""
    result = CliRunner().invoke(app, ["status", str(out)], env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    return result.stdout.splitlines()


def test_a_run_in_progress_is_not_to_be_started_again(tmp_path: Path) -> None:
    """Its process is told, and no command, which that process would only refuse."""
    out = stopped_run(tmp_path)
    with Store(out).locked():
        lines, told = status_lines(out), views.status_json(open_run(out))
    held = told["held_by"]
    assert held["process"] == os.getpid()
    running = f"running, process {os.getpid()} on {socket.gethostname()} since {held['since']}"
    assert running in lines
    assert [line for line in lines if "goes on from here" in line or "next:" in line] == []
    assert told["next"] == []


def test_the_name_that_a_killed_process_left_holds_no_run(tmp_path: Path) -> None:
    """The run is told as one that goes on; of another machine's process, both are told."""
    out = stopped_run(tmp_path)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    left = {"process": gone.pid, "host": socket.gethostname(), "since": "2026-01-02"}
    (out / ".lock-holder").write_text(json.dumps(left))
    lines = status_lines(out)
    assert "the same run, with the same --out, goes on from here" in lines
    assert lines[-1].startswith("next: clear-pipeline run ")
    assert views.status_json(open_run(out))["held_by"] is None
    (out / ".lock-holder").write_text(json.dumps({**left, "host": "node-7"}))
    assert (
        f"running, process {gone.pid} on node-7 since 2026-01-02; once it has ended, the same "
        "run, with the same --out, goes on from here"
    ) in status_lines(out)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="this system tells no start")
def test_another_process_with_a_dead_ones_number_holds_no_run(tmp_path: Path) -> None:
    """As in a container that is started again, where numbers are the same each time."""
    out = stopped_run(tmp_path)
    holder = out / ".lock-holder"
    with Store(out).locked():
        mine = json.loads(holder.read_text())
    for began, held in ((mine["began"], True), (mine["began"] - 1, False)):
        holder.write_text(json.dumps({**mine, "began": began}))
        assert (views.status_json(open_run(out))["held_by"] is not None) == held


def test_a_run_of_data_in_memory_cannot_be_typed(tmp_path: Path) -> None:
    """It goes on from Python, and no command is suggested."""
    rows = pd.DataFrame({"prompt": ["p"], "completion": ["c"]})
    config = build_config(stages=["dedup"])
    run = Pipeline(config).run(rows, out=tmp_path / "run")
    run.manifest.finished = False
    assert from_here(run) is None
    assert views.status_json(run)["next"] == []
