"""What the benchmark of throughput notes of traffic and processes, and the tables it makes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from benchmarks.process_cost import run_command
from benchmarks.recorded import Sums, read_sums
from benchmarks.throughput_report import Measurement, read_measurements, report
from stub_server import StubServer

ROOT = Path(__file__).parents[2]


def figures(**values: float) -> dict[str, float]:
    common = {"requests": 2000.0, "peak_mib": 100.0, "most_open": 8.0, "rate": 90.0}
    return {**common, "client_cpu": 3.0, "server_cpu": 1.0, **values}


def rates(system: str, *steady: float) -> list[Measurement]:
    return [
        Measurement("rate", system, 2000, 8, run, figures(steady_rate=rate))
        for run, rate in enumerate(steady)
    ]


def test_the_ratio_is_taken_round_by_round() -> None:
    """90/100, 80/100 and 120/150: the median is 0.8; a round without its other half is left out."""
    printed = report([*rates("ours", 90, 80, 120, 50), *rates("bare", 100, 100, 150)])
    assert "Ours to bare, round by round: 0.800 [0.800, 0.900], 3 rounds." in printed
    assert "| ours | 2,000 | 85.0 [50.0, 120.0] | 90.0 [90.0, 90.0] | 8 | 1.50 [" in printed


def test_tokens_per_second_of_the_embedded_model() -> None:
    """1,900 tokens in 10 s beside 2,000 in 10 s."""
    both = [
        Measurement("embedded", name, 5, 4, 0, figures(tokens=tokens, seconds=10.0))
        for name, tokens in (("ours", 1900.0), ("bare", 2000.0))
    ]
    printed = report(both)
    assert "| ours | 2,000 | 1,900 | 10.0 | 190.0 |" in printed
    assert "0.950 [0.950, 0.950], 1 rounds" in printed


def test_memory_grows_from_half_of_the_rows_to_the_end() -> None:
    """Of 1,000 rows 500 were answered at 120 MiB, and all at 126."""
    series = [(0, 50.0), (400, 110.0), (500, 120.0), (900, 130.0), (1000, 126.0)]
    one = Measurement("memory", "ours", 1000, 8, 0, figures(), series)
    assert one.growth() == 6.0
    printed = report([one])
    assert "Peak 100 MiB resident; from half of the rows to the end +6 MiB" in printed
    assert "| 900 | 130 |" in printed
    assert Measurement("memory", "ours", 1000, 8, 0, figures(), series[:2]).growth() is None


def test_the_last_measurement_of_a_round_counts(tmp_path: Path) -> None:
    """A line that was cut is none."""
    path = tmp_path / "results.jsonl"
    line = {"kind": "rate", "system": "ours", "rows": 5, "in_flight": 2, "run": 0, "series": []}
    lines = [json.dumps({**line, "figures": {"steady_rate": rate}}) for rate in (1.0, 2.0)]
    path.write_text("\n".join(lines) + '\n{"kind": "ra')
    assert [each.speed for each in read_measurements(path)] == [2.0]


def test_the_bare_client_sends_what_was_recorded_and_notes_it(tmp_path: Path) -> None:
    """Three requests, byte for byte, of 10 and 2 tokens each by the server's count."""
    bodies = [
        {"model": "stub", "messages": [{"role": "user", "content": f"é {n}"}], "max_tokens": n}
        for n in (1, 2, 3)
    ]
    path, noted = tmp_path / "asked", tmp_path / "again"
    path.write_text("".join(json.dumps(body) + "\n" for body in bodies))
    with StubServer() as server:
        options = ["--url", server.url, "--in-flight", "2", "--note", noted]
        command = [sys.executable, "-m", "benchmarks.bare_client", path, *options]
        subprocess.run([*map(str, command)], cwd=ROOT, check=True)
        asked = sorted(server.bodies, key=lambda body: int(body["max_tokens"]))
        assert server.most_open <= 2
    assert asked == bodies
    sums = read_sums(noted)
    assert sums == Sums(requests=3, tokens=36, seconds=sums.seconds)
    assert sums.seconds > 0
    lines = [json.loads(line) for line in noted.read_bytes().splitlines()]
    assert sorted(lines, key=lambda body: int(body["max_tokens"])) == bodies


def test_a_command_is_sampled_with_all_its_processes(tmp_path: Path) -> None:
    """A child that holds 100 MiB counts for the command; its terminal is one if it is wanted."""
    child = "import time; x = b'x' * (100 << 20)\nwhile time.process_time() < 0.5: pass"
    code = (
        "import subprocess, sys; print(sys.stdout.isatty());"
        f"subprocess.run([sys.executable, '-c', {child!r}])"
    )
    seen: list[float] = []
    for terminal in (True, False):
        log = tmp_path / "log"
        cost = run_command(
            [sys.executable, "-c", code], seconds=60, log=log, terminal=terminal, watch=seen.append
        )
        assert (cost.status, cost.said) == (0, str(terminal))
        assert cost.peak_mib > 100
        assert cost.cpu_seconds > 0.3
    assert max(seen) > 100


def test_a_command_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    """It has no exit status then."""
    command = [sys.executable, "-c", "import threading; threading.Event().wait()"]
    assert run_command(command, seconds=0.3, log=tmp_path / "log").status is None
