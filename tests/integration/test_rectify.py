"""Rectify through the command line: candidates, verdicts, diffs, and an eta from marks."""

from __future__ import annotations

import json
import re
import shlex
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from clear_pipeline.calibration import EtaCalibration
from clear_pipeline.cli import app
from clear_pipeline.errors import UsageError
from clear_pipeline.run import Run, open_run
from rectify_server import BAD, OTHER_KEYS, ROWS, candidate, reply, response
from stub_server import StubServer


@pytest.fixture(scope="module")
def server() -> Iterator[StubServer]:
    with StubServer(reply) as stub:
        yield stub


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("rectify")


def clear(*words: str) -> Result:
    return CliRunner().invoke(app, list(words), catch_exceptions=False)


@pytest.fixture(scope="module")
def words(server: StubServer, folder: Path) -> list[str]:
    """A run of a candidate for every row, in sight of two of which the judge decides."""
    data = folder / "rows.jsonl"
    data.write_text(
        "".join(
            json.dumps({"prompt": f"Question {n}?", "completion": response(n)}) + "\n"
            for n in range(ROWS)
        )
    )
    return ["run", str(data), "--out", str(folder / "run"), "--base-url", server.url, "--model",
            "stub", "--stages", "score,filter,rectify", "--yes",
            "--set", "score.reflection=[yes_no]", "--set", "rectify.scope=all",
            "--set", "rectify.candidates=2", "--set", "rectify.candidate_temperature=0.7",
            "--set", "models.scorer.max_in_flight=8"]  # fmt: skip


@pytest.fixture(scope="module")
def run(words: list[str], folder: Path) -> Run:
    result = clear(*words)
    assert result.exit_code == 0, result.output
    return open_run(folder / "run")


def test_every_row_has_its_outcome(run: Run, server: StubServer) -> None:
    """Ten bad rows and a good one replaced, one refused, all others confirmed without a verdict.

    Two candidates a row in one request; they are equal, so one is judged: four verdicts a row.
    """
    rows = run.ledger().to_pylist()
    outcomes = Counter(row["rectify_outcome"] for row in rows)
    assert outcomes == {"replaced": 10, "not_preferred": 1, "refused": 1, "confirmed": 88}
    by_line = {row["line"]: row for row in rows}
    assert by_line[1]["candidate_draws"] == {
        "drawn": 2, "refused": 0, "confirming": 0, "repeated": 1, "judged": 1,
    }  # fmt: skip
    assert "lacks keys of the original: 'answer', 'why'" in by_line[OTHER_KEYS + 1]["reason"]
    drawn = [body for body in server.bodies if body.get("n") == 2]
    assert len(drawn) == ROWS
    assert {(body["temperature"], body["seed"]) for body in drawn} == {(0.7, 0)}
    assert sum("Is response" in str(body["messages"]) for body in server.bodies) == 4 * 11


def test_the_diff_is_in_ledger_explain_and_report(run: Run) -> None:
    """What was taken out and what stands there now."""
    (row,) = [row for row in run.ledger().to_pylist() if row["line"] == 11]
    diff = row["response_diff"]
    assert diff.split("\n")[3:] == [f"-{response(10)}", f"+{candidate(10)}"]
    unchanged = [r for r in run.ledger().to_pylist() if r["fate"] != "rectified"]
    assert {r["response_diff"] for r in unchanged} == {None}
    explained = clear("explain", str(run.path), row["id"]).output
    assert "unified diff" in explained
    assert f"+{candidate(10)}" in explained
    assert json.loads(clear("explain", str(run.path), row["id"], "--json").output)["row"][
        "response_diff"
    ] == diff  # fmt: skip
    assert clear("report", str(run.path)).exit_code == 0
    html = (run.path / "report.html").read_text()
    assert "Unified diff" in html
    assert "+{&#34;answer&#34;: &#34;right 10&#34;" in html


def write_marks(folder: Path, numbers: range) -> Path:
    marks = folder / f"marks{len(numbers)}.csv"
    lines = (f"rows.jsonl:{n + 1},{'bad' if n in BAD else 'good'}\n" for n in numbers)
    marks.write_text("id,label\n" + "".join(lines))
    return marks


def test_eta_from_marks_replaces_what_the_promise_allows(
    run: Run, folder: Path, server: StubServer
) -> None:
    """One of 90 good rows may be damaged (0.0517): eta is 0.5. At 0.05 none may, so it is 0.8.

    The command that it names runs the stage again without a call, with the eta of the file.
    """
    out = folder / "eta.json"
    marks = write_marks(folder, range(ROWS))
    fit = ["calibrate", str(run.path), "--marks", str(marks), "--out", str(out)]
    assert clear(*fit, "--max-damage", "0.05").exit_code == 0
    assert EtaCalibration.read(out).eta == 0.8
    told = clear(*fit, "--max-damage", "0.06")
    assert told.exit_code == 0, told.output
    fitted = EtaCalibration.read(out)
    assert (fitted.good, fitted.bad, fitted.form) == (90, 10, "yes-no")
    assert (fitted.chosen.eta, fitted.chosen.damaged, fitted.chosen.replaced) == (0.5, 1, 10)
    assert "1 of 90 good rows would be replaced" in told.output
    asked = len(server.bodies)
    (command,) = re.findall(r"^next: clear-pipeline (.*)$", told.output, re.MULTILINE)
    again = clear(*shlex.split(command), "--yes")
    assert again.exit_code == 0, again.output
    assert len(server.bodies) == asked
    outcomes = Counter(open_run(run.path).ledger()["rectify_outcome"].to_pylist())
    assert outcomes["replaced"] == 11
    explained = clear("explain", str(run.path), "rows.jsonl:11").output
    assert "--set stages.rectify.calibration=null" in " ".join(explained.split())
    once_more = clear("run", str(folder / "rows.jsonl"), "--out", str(run.path), "--config",
                      str(run.path / "config.yaml"), "--yes")  # fmt: skip
    assert "rectify: up to date" in once_more.output


def test_too_few_marks_are_refused(run: Run, folder: Path) -> None:
    """40 rows, 36 of them good, promise no 5 %."""
    marks = write_marks(folder, range(40))
    out = folder / "few.json"
    fit = ["calibrate", str(run.path), "--marks", str(marks), "--out", str(out)]
    with pytest.raises(UsageError, match="label 23 more"):
        clear(*fit, "--max-damage", "0.05")
    assert not out.exists()


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--max-damage", "5"], "expected a share between 0 and 1"),
        (["--max-damage", "0.05", "--leave-out", "other_row"], "goes with --marks alone"),
    ],
)
def test_mistakes_are_told(run: Run, folder: Path, options: list[str], why: str) -> None:
    """A share in percent, and options of another fit."""
    marks = write_marks(folder, range(40))
    with pytest.raises(UsageError, match=why):
        clear("calibrate", str(run.path), "--marks", str(marks), "--out", str(folder / "x.json"),
              *options)  # fmt: skip


def test_an_eta_for_another_judge_is_refused_before_any_call(
    run: Run, words: list[str], folder: Path, server: StubServer
) -> None:
    """It was fitted on verdicts of one model."""
    out = folder / "other.json"
    marks = write_marks(folder, range(ROWS))
    arguments = ["--marks", str(marks), "--max-damage", "0.05", "--out", str(out)]
    assert clear("calibrate", str(run.path), *arguments).exit_code == 0
    asked = len(server.bodies)
    other = [word.replace(str(folder / "run"), str(folder / "elsewhere")) for word in words]
    judge = f"models.judge={{model: other, base_url: '{server.url}'}}"
    with pytest.raises(UsageError, match="was fitted on verdicts of"):
        clear(*other, "--set", f"rectify.calibration={out}", "--set", judge)
    assert len(server.bodies) == asked
