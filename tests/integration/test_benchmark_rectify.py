"""The benchmark of rectify in small, in front of a server: figures by hand, resumed per row."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.rectify import main
from benchmarks.rectify_report import read_repaired
from clear_pipeline.calibration import EtaCalibration
from clear_pipeline.errors import UsageError
from rectify_server import BAD, ROWS, candidate, reply, response
from stub_server import StubServer

Measure = Callable[..., list[str]]


@pytest.fixture
def measure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Measure:
    """Runs the benchmark in `tmp_path` with more options; what it prints."""
    data = tmp_path / "rows.jsonl"
    lines = [
        {
            "prompt": f"Question {n}?",
            "completion": response(n),
            "label": "bad" if n in BAD else "good",
            "split": "report",
            "clean_completion": candidate(n) if n in BAD else response(n),
        }
        for n in range(ROWS)
    ]
    data.write_text("".join(json.dumps(line) + "\n" for line in lines))

    def run(server: StubServer, *options: str) -> list[str]:
        words = ["rectify", str(data), "--split", "report", "--out", str(tmp_path / "out.jsonl"),
                 "--base-url", server.url, "--model", "stub", "--cache",
                 str(tmp_path / "cache.sqlite"), "--eta", "0.5", "0.8", *options]  # fmt: skip
        monkeypatch.setattr(sys, "argv", words)
        main()
        return capsys.readouterr().out.splitlines()

    return run


def test_figures_and_an_eta_that_keeps_the_promise(measure: Measure, tmp_path: Path) -> None:
    """Of 60 good rows one is damaged at 0.5 (bound 0.077) and none at 0.8 (0.049); 10 bad fixed."""
    eta = tmp_path / "eta.json"
    with StubServer(reply) as server:
        told = measure(server, "--good", "60", "--bad", "10", "--fit-eta", str(eta))
        assert "70 rows, 10 of them bad" in told
        assert any(line.startswith("candidates that are right: 68/70") for line in told)
        assert "rows by what became of the candidate: confirmed 58, judged 11, refused 1" in told
        assert (
            "- candidate refused: its JSON lacks keys of the original: 'answer', 'why': 1" in told
        )
        assert any(line.startswith("verdicts that flip with the order: 0/11") for line in told)
        low, high = (line.split(" | ") for line in told if line.startswith(("| 0.5", "| 0.8")))
        assert [low[1][:11], low[2], low[3][:12]] == ["1/60 = 0.02", "0.077", "10/10 = 1.00"]
        assert [high[0], high[1][:11], high[2]] == ["| 0.8, in force", "0/60 = 0.00", "0.049"]
        assert "goal at eta 0.8: damage of good rows at most 0.05 by its bound, 0.049: met" in told
        fitted = EtaCalibration.read(eta)
        assert (fitted.eta, fitted.good, fitted.bad, fitted.damage) == (0.8, 60, 10, "wrong")
        asked = len(server.bodies)
        again = measure(server, "--good", "60", "--bad", "10", "--calibration", str(eta))
        assert len(server.bodies) == asked
    assert again[-1] == "goal at eta 0.8: damage of good rows at most 0.05 by its bound, 0.049: met"


def test_rows_that_are_done_are_not_asked_again(measure: Measure, tmp_path: Path) -> None:
    """Neither after a stop, a line that a kill cut included, nor without the cache."""
    with StubServer(reply) as first:
        measure(first, "--good", "3", "--bad", "1")
    out = tmp_path / "out.jsonl"
    with out.open("a") as file:
        file.write('{"row": "rows.jsonl:9", "ba')
    (tmp_path / "cache.sqlite").unlink()
    with StubServer(reply) as second:
        told = measure(second, "--good", "5", "--bad", "2")
        drawn = [body for body in second.bodies if "response_format" in body]
        assert len(drawn) == 3
    assert "7 rows, 2 of them bad" in told
    assert len(read_repaired(out)) == 7


def test_a_file_is_of_one_model_and_one_form(measure: Measure, tmp_path: Path) -> None:
    """Other settings are refused before a row is asked about, and the file stays as it was."""
    with StubServer(reply) as server:
        measure(server, "--good", "2", "--bad", "1")
        before = (tmp_path / "out.jsonl").read_bytes()
        asked = len(server.bodies)
        with pytest.raises(UsageError, match="name another --out"):
            measure(server, "--good", "3", "--bad", "1", "--preset", "paper")
        assert len(server.bodies) == asked
    assert (tmp_path / "out.jsonl").read_bytes() == before


def test_the_preset_asks_for_the_papers_verdicts(measure: Measure, tmp_path: Path) -> None:
    """Five sampled verdicts in either order, which this server does not give: the row failed."""
    with StubServer(reply) as server:
        measure(server, "--good", "0", "--bad", "1", "--preset", "paper")
        verdicts = [body for body in server.bodies if "VERDICT" in str(body["messages"])]
    assert {(body["n"], body["temperature"]) for body in verdicts} == {(5, 1.0)}
    (row,) = read_repaired(tmp_path / "out.jsonl")
    assert (row.outcome, row.reason) == (
        "failed",
        "judge failed: bad_reply: none of 5 replies is a verdict",
    )
