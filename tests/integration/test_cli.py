"""The command line as a user has it: a process, a real server on loopback, exit codes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp import web

from clear_pipeline import __version__
from clear_pipeline.cli import app
from stub_server import Body, StubServer, answer, page

DEMO = Path(__file__).parents[2] / "data" / "demo"
SECRET = "sk-never-written-anywhere"


def cli(*arguments: str | Path, key: str = SECRET) -> subprocess.CompletedProcess[str]:
    """Run the command line to its end."""
    return subprocess.run(
        [sys.executable, "-m", "clear_pipeline", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
        env={**os.environ, "OPENAI_API_KEY": key, "COLUMNS": "160"},
    )


def run_demo(server_url: str, out: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return cli("run", DEMO, "--out", out, "--base-url", server_url, "--model", "stub", *more)


@pytest.fixture(scope="module")
def server() -> Iterator[StubServer]:
    with StubServer() as running:
        yield running


@pytest.fixture(scope="module")
def finished(server: StubServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of the demo against the stub server."""
    out = tmp_path_factory.mktemp("cli") / "run"
    result = run_demo(server.url, out)
    assert result.returncode == 0, result.stderr
    return out


def test_run_hands_over_every_file(finished: Path) -> None:
    """A run leaves ledger, export, removed rows, card and report."""
    for name in ("ledger.parquet", "export/train.jsonl", "export/removed.jsonl",
                 "DATASET_CARD.md", "report.html", "config.yaml"):  # fmt: skip
        assert (finished / name).stat().st_size > 0


def test_fates_sum_to_the_input(finished: Path) -> None:
    """`status --json` counts every one of the 68 rows of the demo once."""
    told = json.loads(cli("status", finished, "--json").stdout)
    assert sum(told["fates"].values()) == 68
    assert told["fates"]["quarantined"] == 5
    assert told["fates"]["duplicate"] >= 5


def test_key_of_another_service_stays_here(finished: Path, server: StubServer) -> None:
    """A key in the environment is neither sent to a local server nor written to the run."""
    assert SECRET not in server.keys
    for path in finished.rglob("*"):
        if path.is_file():
            assert SECRET.encode() not in path.read_bytes()


def test_changed_threshold_asks_nothing(finished: Path, server: StubServer, tmp_path: Path) -> None:
    """A new threshold runs filter and later, says so, and makes no call."""
    out = shutil.copytree(finished, tmp_path / "copy")
    before = len(server.bodies)
    changed = ["--set", "filter.keep.quantile=0.2", "--stages", "dedup,score,filter"]
    result = run_demo(server.url, out, *changed)
    assert result.returncode == 0, result.stderr
    assert "score: up to date" in result.stderr
    assert "filter: changed keep" in result.stderr
    assert len(server.bodies) == before


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["explain", "RUN", "faq.csv:2"], "faq.csv:2"),
        (["rows", "RUN", "--fate", "duplicate"], "duplicate of"),
        (["status", "RUN"], "quarantined"),
        (["report", "RUN"], "report.html"),
        (["model", "list"], "Apache-2.0"),
    ],
)
def test_views_tell_and_name_the_next_command(
    finished: Path, arguments: list[str], expected: str
) -> None:
    """Each view shows what it is for."""
    result = cli(*[str(finished) if a == "RUN" else a for a in arguments])
    assert result.returncode == 0, result.stderr
    assert expected in result.stdout


@pytest.mark.parametrize("form", ["openai", "alpaca", "sharegpt", "prompt-completion", "parquet"])
def test_export_in_every_format(finished: Path, tmp_path: Path, form: str) -> None:
    """A finished run is exported again in any format."""
    result = cli("export", finished, "--format", form, "--out", tmp_path)
    assert result.returncode == 0, result.stderr
    (train,) = tmp_path.glob("train.*")
    assert train.suffix == (".parquet" if form == "parquet" else ".jsonl")
    assert train.stat().st_size > 0


def test_another_export_holds_out_the_same_rows(tmp_path: Path) -> None:
    """What is not given is as in the run: nothing that it held out is trained on."""
    data, run = tmp_path / "rows.jsonl", tmp_path / "run"
    rows = [{"prompt": f"{n} + 1?", "completion": str(n + 1), "topic": "sums"} for n in range(60)]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assigned = ("export.valid_fraction=0.4", "export.seed=7", "export.extra_columns=drop")
    sets = [word for value in assigned for word in ("--set", value)]
    result = cli("run", data, "--out", run, "--stages", "load,dedup,export", *sets)
    assert result.returncode == 0, result.stderr
    for out, given in (("same", ()), ("all", ("--valid-fraction", "0"))):
        result = cli("export", run, "--out", tmp_path / out, *given)
        assert result.returncode == 0, result.stderr
    for name in ("train.jsonl", "valid.jsonl"):
        assert (tmp_path / "same" / name).read_bytes() == (run / "export" / name).read_bytes()
    assert len((tmp_path / "all" / "train.jsonl").read_text().splitlines()) == 60


def test_evaluate_scores_prints_intervals(finished: Path, tmp_path: Path) -> None:
    """`evaluate scores` measures the confidence against labels, beside trivial baselines."""
    ids = json.loads(cli("rows", finished, "--limit", "1000", "--json").stdout)
    labels = tmp_path / "labels.jsonl"
    labels.write_text(
        "".join(
            json.dumps({"id": row["id"], "label": "good" if i % 2 else "bad"}) + "\n"
            for i, row in enumerate(ids)
        )
    )
    told = json.loads(cli("evaluate", "scores", finished, "--labels", labels, "--json").stdout)
    assert told["scores"][0]["name"] == "confidence"
    assert {b["name"] for b in told["baselines"]} == {"response_length", "prompt_overlap"}
    auroc = told["scores"][0]["detection"]["auroc"]
    assert auroc["low"] <= auroc["value"] <= auroc["high"]
    with labels.open("a") as more:
        more.write(json.dumps({"id": "gone:1", "label": "bad"}) + "\n")
    result = cli("evaluate", "scores", finished, "--labels", labels)
    assert "1 label matches no row of the run" in result.stdout + result.stderr


def test_dead_server_is_one_line_and_resumable(tmp_path: Path, server: StubServer) -> None:
    """Without a server: the URL and what to try, exit 1; with it, the same command finishes."""
    with StubServer() as gone:
        dead = gone.url
    out = tmp_path / "run"
    result = run_demo(dead, out)
    assert result.returncode == 1
    (line,) = [text for text in result.stderr.splitlines() if text.startswith("error:")]
    assert dead in line
    assert run_demo(server.url, out).returncode == 0


def test_an_address_that_is_no_api_is_told_by_what_it_answers(tmp_path: Path) -> None:
    """The first line that is wrong: what was answered, and what to check; no talk of abilities."""
    with StubServer(page) as website:
        result = run_demo(website.url, tmp_path / "run", "--set", "models.scorer.backoff_s=0.01")
    assert result.returncode == 1
    assert (
        f"error: garbled: {website.url} answered no chat completion but this: "
        "<html>It works!</html>; check base_url: that of an OpenAI-compatible API usually ends in "
        "/v1. localhost/v1:stub has answered nothing: no row has been asked about yet, and the "
        "same command asks again"
    ) in result.stderr.splitlines()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["run", "nowhere", "--out", "OUT"], "no such file or directory"),
        (["run", str(DEMO), "--out", "OUT", "--stages", "load,wash"], "no stage 'wash'"),
        (["run", str(DEMO), "--out", "OUT", "--base-url", "http://127.0.0.1:1/v1"], "--model"),
        (["run", str(DEMO), "--out", "OUT", "--set", "dedup.treshold=1"], "'threshold'"),
        (["run", str(DEMO / "faq.csv"), "--out", "OUT", "--map", "prompt"], "--map"),
        (["run", str(DEMO), "--out", "OUT", "--model", "gpt-x"], "Add --yes"),
        (["run", str(DEMO), "--out", "OUT", "--model", "gpt-x"], "prices that are not known"),
        (["run", str(DEMO), "--out", "OUT", "--model", "gpt-4.1-mini"], "prices of genai-prices"),
        (["run", str(DEMO), "--out", "OUT", "--stages", ""], "--stages names no stage"),
        (
            ["run", str(DEMO / "faq.csv"), "--out", "OUT", "--map", "prompt=x,response=y"],
            "map: no file",
        ),
        (["run", str(DEMO.parent / "demo.key.csv"), "--out", "OUT"], "no usable row"),
        (["estimate", "nowhere"], "no such file or directory"),
        (["export", "RUN", "--out", "RUN"], "RUN/export; name another directory"),
        (["export", "RUN", "--out", "RUN/report.html"], "is a file, name a directory"),
        (["status", "OUT"], "no run here"),
        (["status", "RUN/report.html"], "no run here"),
        (["explain", "RUN", "nothing:1"], "no row 'nothing:1'"),
        (["rows", "RUN", "--fate", "lost"], "no fate 'lost'"),
        (["model", "pull", "nothing"], "no model 'nothing'"),
    ],
)
def test_wrong_usage_is_exit_two(
    finished: Path, tmp_path: Path, arguments: list[str], expected: str
) -> None:
    """Wrong usage, config or input: exit 2, with what was found and what to do."""
    places = {"OUT": str(tmp_path / "out"), "RUN": str(finished)}
    result = cli(*[_placed(a, places) for a in arguments])
    assert result.returncode == 2
    assert _placed(expected, places) in result.stderr
    assert "Traceback" not in result.stderr
    assert "model: " not in result.stderr


def _placed(text: str, places: dict[str, str]) -> str:
    """With the directories of the test in place of their names."""
    first, slash, rest = text.partition("/")
    return places.get(first, first) + slash + rest


def test_what_a_run_counts_once_is_in_the_singular(tmp_path: Path) -> None:
    """One row of two is a duplicate; the last line is the next command."""
    data = tmp_path / "d.jsonl"
    data.write_text(2 * '{"prompt": "p", "completion": "c"}\n')
    result = cli("run", data, "--out", tmp_path / "run", "--stages", "dedup")
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1].endswith(f"rows {tmp_path / 'run'} --fate duplicate")
    assert "1 row that was left out, with reasons" in " ".join(result.stdout.split())


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """`clear-pipeline --version`, as a report of a fault needs it."""
    with pytest.raises(SystemExit) as ended:
        app(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"clear-pipeline {__version__}\n"


def test_run_of_other_data_is_refused(finished: Path, tmp_path: Path) -> None:
    """A run directory is not reused for another dataset; the message names both."""
    other = tmp_path / "other.jsonl"
    other.write_text('{"prompt": "p", "completion": "c"}\n')
    result = cli("run", other, "--out", finished, "--stages", "dedup")
    assert result.returncode == 2
    assert "holds a run of 'demo'" in result.stderr
    assert "other.jsonl" in result.stderr


def test_killed_run_pays_nothing_twice(tmp_path: Path) -> None:
    """After kill -9 in the middle of scoring, only calls that were in flight are asked again."""
    process: list[subprocess.Popen[bytes]] = []

    async def reply(body: Body) -> web.StreamResponse:
        if len(stub.bodies) == 20 and process:
            os.kill(process[0].pid, signal.SIGKILL)
        return await answer(body)

    with StubServer(reply) as stub:
        command = [sys.executable, "-m", "clear_pipeline", "run", str(DEMO), "--base-url",
                   stub.url, "--model", "stub", "--out", str(tmp_path / "run"),
                   "--set", "models.scorer.max_in_flight=4"]  # fmt: skip
        process.append(subprocess.Popen(command, stderr=subprocess.DEVNULL))
        assert process[0].wait(timeout=600) == -signal.SIGKILL
        process.clear()
        again = subprocess.run(command, check=False, capture_output=True, timeout=600)
        assert again.returncode == 0, again.stderr
        repeats = sum(count - 1 for count in stub.counts().values())
    assert repeats <= 4  # max_in_flight
