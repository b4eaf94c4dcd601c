"""The benchmark of throughput, in small: real runs in front of its own server."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from benchmarks.throughput_report import read_measurements

ROOT = Path(__file__).parents[2]
ROWS = 200


def run(*arguments: object) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.throughput", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_ours_and_the_bare_client_send_the_same_requests(tmp_path: Path) -> None:
    """One request a row and few to learn what the server can; what is measured is not repeated.

    The command itself ends with an error if the two differ in any request.
    """
    results = tmp_path / "results.jsonl"
    given = ["--rows", ROWS, "--in-flight", 16, "--latency", 0.01, "--results", results]
    assert len(run("rate", *given, "--runs", 1).splitlines()) == 2
    bare, ours = read_measurements(results)
    assert (bare.system, ours.system) == ("bare", "ours")
    assert ROWS <= ours.figures["requests"] <= ROWS + 5
    assert bare.figures["requests"] == ours.figures["requests"]
    for each in (ours, bare):
        assert 1 < each.figures["most_open"] <= 16
        assert each.speed > 0
        assert each.figures["client_cpu"] > 0
        assert each.figures["server_cpu"] > 0
    assert run("rate", *given, "--runs", 1) == ""
    out = tmp_path / "throughput.md"
    assert run("report", results, "--out", out) == out.read_text()
    assert "Ours to bare, round by round: " in out.read_text()


def test_memory_is_sampled_until_all_rows_are_answered(tmp_path: Path) -> None:
    """The series begins before the first answer and ends after the last."""
    results = tmp_path / "results.jsonl"
    given = ["--rows", ROWS, "--in-flight", 16, "--latency", 0.01, "--results", results]
    run("memory", *given)
    (one,) = read_measurements(results)
    answered = [count for count, _ in one.series]
    assert answered[0] == 0
    assert answered == sorted(answered)
    assert answered[-1] >= ROWS
    assert one.figures["peak_mib"] >= max(resident for _, resident in one.series) > 50
