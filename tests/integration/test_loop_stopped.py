"""`clear-pipeline loop` that is killed, capped or left waiting: the same command goes on."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from loop_cli import IN_FLIGHT, Servers, cli, outcome, record, start, words
from loop_server import GOOD, Platform, is_verdict, judge, judged, write_rows
from stub_server import Body, StubServer, status


@pytest.fixture
def servers() -> Iterator[Servers]:
    with StubServer(judge) as stub, Platform() as platform:
        yield Servers(stub, platform)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_rows(tmp_path / "rows.jsonl")


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The outcome of a loop in one go, with two jobs."""
    folder = tmp_path_factory.mktemp("calm")
    with StubServer(judge) as stub, Platform() as platform:
        typed = words(Servers(stub, platform), write_rows(folder / "rows.jsonl"), folder / "loop")
        assert cli(typed).returncode == 0
        assert len(platform.jobs) == 2
    return outcome(folder / "loop")


@pytest.mark.parametrize("moment", ["score", "upload", "poll", "judge", "evaluation"])
def test_a_killed_loop_goes_on(
    servers: Servers, data: Path, tmp_path: Path, calm: list[dict[str, Any]], moment: str
) -> None:
    """After kill -9 the same command comes to what a loop in one go does.

    No job is created twice, and no call repeated but those that were in flight.
    """
    out = tmp_path / "loop"
    victim: list[subprocess.Popen[str]] = []

    def kill(*_: object) -> None:
        if victim:
            os.kill(victim.pop().pid, signal.SIGKILL)

    async def deadly(body: Body) -> web.StreamResponse:
        verdicts = sum(map(is_verdict, servers.judge.bodies))
        if (moment == "score" and len(servers.judge.bodies) == GOOD) or (
            moment == "judge" and verdicts == GOOD
        ):
            kill()
        return web.json_response(judged(body))

    servers.judge.answer_with(deadly)
    if moment == "upload":
        servers.platform.uploaded = kill
    if moment == "poll":
        servers.platform.looked = lambda job: kill() if job.looks == 2 else None
    if moment == "evaluation":
        servers.platform.answering = lambda body: kill() if body["model"] == "ft-2" else None
    typed = words(servers, data, out)
    process = start(typed)
    victim.append(process)
    process.communicate(timeout=600)
    assert process.returncode == -signal.SIGKILL
    (out / ".loop.json.1.tmp").touch()  # as a process leaves it that is killed while it writes
    finished = cli(typed)
    assert finished.returncode == 0, finished.stderr
    assert outcome(out) == calm
    assert len(servers.platform.jobs) == 2
    assert servers.repeats() <= (0 if moment in ("upload", "poll") else 2 * IN_FLIGHT)


def test_a_cap_holds_over_the_whole_loop(servers: Servers, data: Path, tmp_path: Path) -> None:
    """In scoring, in the judge and in the evaluation it stops with 3, at so many calls in all.

    The command that it names has a higher one and goes on. 60 scores and 30 candidates with 4
    verdicts each are 210 calls.
    """
    out = tmp_path / "loop"

    def calls() -> int:
        return len(servers.judge.bodies) + len(servers.platform.asked_models)

    for cap in (20, 100, 215):
        stopped = cli(words(servers, data, out, "--max-calls", str(cap)))
        assert stopped.returncode == 3, stopped.stderr
        assert calls() == cap
        assert f"stopped by max_calls: {cap} of {cap} calls" in stopped.stderr
        (line,) = [s for s in stopped.stdout.splitlines() if s.startswith("next: ")]
        typed = shlex.split(line.removeprefix("next: clear-pipeline "))
        assert int(typed[typed.index("--max-calls") + 1]) > cap
    done = cli(typed)
    assert done.returncode == 0, done.stderr
    assert record(out)["rounds"][0]["spent"]["calls"] == calls()
    assert servers.repeats() == 0


def test_a_failed_job_is_told_and_begun_anew(servers: Servers, data: Path, tmp_path: Path) -> None:
    """The platform's reason is shown with exit code 1; the same command trains and goes on.

    The two that came to nothing count at their prices, the others as billed: 1,200 tokens, $1.20.
    """
    servers.platform.course = ("running", "failed")
    priced = ("--set", "trainer.price_per_mtok=1000", "--yes")
    typed = words(servers, data, tmp_path / "loop", *priced)
    failed = cli(typed)
    assert failed.returncode == 1
    assert "has failed: " in failed.stderr
    assert "row 3 is bad" in failed.stderr
    assert "the same command begins a new one" in failed.stderr
    asked = len(servers.judge.bodies)
    servers.platform.course = ("running", "cancelled")
    cancelled = cli(typed)
    assert cancelled.returncode == 1
    assert "was cancelled" in cancelled.stderr
    assert len(servers.judge.bodies) == asked
    servers.platform.course = ("succeeded",)
    finished = cli(typed)
    assert finished.returncode == 0, finished.stderr
    prices = [usd for name, usd in json.loads((tmp_path / "loop" / "trainings.json").read_text())]
    assert len(prices) == 4
    spent = record(tmp_path / "loop")["rounds"][0]["spent"]["usd"]
    assert spent == pytest.approx(prices[0] + prices[1] + 2 * 1.2)
    assert servers.repeats() == 0


def test_a_job_that_is_not_waited_for(servers: Servers, data: Path, tmp_path: Path) -> None:
    """With `trainer.wait=false` the command ends with 4 until the job is over."""
    servers.platform.course = ("queued", "running", "succeeded")
    typed = words(servers, data, tmp_path / "loop", "--set", "trainer.wait=false")
    codes = [cli(typed).returncode for _ in range(5)]
    assert codes[:2] == [4, 4]
    assert codes[-1] == 0
    assert len(servers.platform.jobs) == 2


def test_an_outage_stops_and_the_same_command_goes_on(
    servers: Servers, data: Path, tmp_path: Path
) -> None:
    """A platform that is gone for a while loses nothing."""
    servers.platform.faults.extend([status(500)] * 5)
    typed = words(servers, data, tmp_path / "loop")
    stopped = cli(typed)
    assert stopped.returncode == 1
    finished = cli(typed)
    assert finished.returncode == 0, finished.stderr
    assert servers.repeats() == 0
