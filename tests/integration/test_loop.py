"""`clear-pipeline loop` as a user has it: processes, a judge, a platform that trains, kills."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from aiohttp import web

from loop_server import GOOD, ROWS, Platform, is_verdict, judge, judged, write_rows
from stub_server import Body, StubServer, question, status

IN_FLIGHT = 4
LOOK = "GET /v1/fine_tuning/jobs/ID"


class Servers(NamedTuple):
    """Who judges, and who trains."""

    judge: StubServer
    platform: Platform

    def repeats(self) -> int:
        """Questions that were asked more than once, over both."""
        asked = Counter(map(question, self.platform.asked_models))
        return sum(n - 1 for n in self.judge.counts().values()) + sum(n - 1 for n in asked.values())


@pytest.fixture
def servers() -> Iterator[Servers]:
    with StubServer(judge) as stub, Platform() as platform:
        yield Servers(stub, platform)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_rows(tmp_path / "rows.jsonl")


def words(servers: Servers, data: Path, out: Path, *more: str) -> list[str]:
    """The loop as it is typed."""
    base = f"{{model: base, base_url: '{servers.platform.url}', backoff_s: 0.001}}"
    settings = {
        "models.scorer.max_in_flight": IN_FLIGHT, "load.shard_rows": 10,
        "trainer.base": base, "trainer.poll_s": 0.001, "trainer.max_poll_s": 0.002,
        "trainer.price_per_mtok": 0, "loop.hold_out": 0.3,
    }  # fmt: skip
    return [
        "loop", str(data), "--out", str(out), "--model", "judge", "--base-url", servers.judge.url,
        "--stages", "score,filter,rectify", "--trainer", "openai-jobs",
        *(word for name, value in settings.items() for word in ("--set", f"{name}={value}")),
        *more,
    ]  # fmt: skip


def start(typed: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "clear_pipeline", *typed],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "COLUMNS": "180"},
    )


def cli(typed: list[str]) -> subprocess.CompletedProcess[str]:
    """The command, to its end."""
    process = start(typed)
    said, told = process.communicate(timeout=600)
    return subprocess.CompletedProcess(typed, process.returncode, said, told)


def record(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "loop.json").read_text())
    return found


def outcome(out: Path) -> list[dict[str, Any]]:
    """What the rounds came to, whatever the calls were that it took."""
    kept = ("rows", "train_rows", "figures", "compared_with", "gains")
    return [{name: done[name] for name in kept} for done in record(out)["rounds"]]


def value(figures: list[dict[str, Any]], metric: str) -> float:
    (found,) = [each["value"]["value"] for each in figures if each["metric"] == metric]
    return float(found)


def test_rounds_until_one_gains_too_little(servers: Servers, data: Path, tmp_path: Path) -> None:
    """Round 1 corrects all wrong rows and gains; round 2 gains nothing and is the last of three.

    The first filter keeps 30 of 60 rows, of which some are test rows; all 30 others are corrected.
    """
    out = tmp_path / "loop"
    done = cli(words(servers, data, out, "--rounds", "3"))
    assert done.returncode == 0, done.stderr
    found = record(out)
    first, second = found["rounds"]
    tests = (out / "test.jsonl").read_text().splitlines()
    assert found["test_rows"] == len(tests) > 0
    assert {k: v for k, v in first["rows"].items() if v} == {"rectified": 30, "kept": 30}
    # of the rows of round 2 none is doubtful: the corrected ones are scored again, and kept
    assert {k: v for k, v in second["rows"].items() if v} == {"kept": ROWS - len(tests)}
    assert first["writer"]["model"] == "ft-1"
    assert (first["model"]["model"], second["writer"]["model"]) == ("ft-2", "ft-2")
    # the base is right about every fourth thing, thus about some of the odd ones: 1, 5, 9, ...
    numbers = [int(json.loads(line)["messages"][-1]["content"].split()[1]) for line in tests]
    before = sum(n % 4 == 1 for n in numbers) / len(numbers)
    assert value(first["gains"], "exact_match") == pytest.approx(1 - before)
    assert first["compared_with"] == "base"
    assert value(second["gains"], "exact_match") == 0
    assert found["ended"].startswith("round 2 gained +0.000 [+0.000, +0.000] in token F1 over")
    # no test row is trained on in any round
    for path in out.glob("round-*/*/data/*.jsonl"):
        if path.name in ("train.jsonl", "valid.jsonl"):
            trained = [json.loads(line)["messages"] for line in path.read_text().splitlines()]
            assert not [row for row in trained if row in [json.loads(t)["messages"] for t in tests]]
    assert "ended: round 2 gained" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("next: clear-pipeline ")
    assert "round 1 of 3: score and filter" in done.stderr
    assert "<circle" in (out / "loop.svg").read_text()
    assert servers.repeats() == 0
    for name in ("run", "tuned", "final", "evaluation"):
        assert (out / "round-1" / name).is_dir()


def test_a_loop_that_is_over_is_not_done_again(
    servers: Servers, data: Path, tmp_path: Path
) -> None:
    """The same command asks and trains nothing; more rounds go on from those that are done."""
    out = tmp_path / "loop"
    assert cli(words(servers, data, out)).returncode == 0
    asked, jobs = len(servers.judge.bodies), len(servers.platform.jobs)
    again = cli(words(servers, data, out, "--json"))
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout) == record(out)
    assert (len(servers.judge.bodies), len(servers.platform.jobs)) == (asked, jobs)
    assert record(out)["ended"] == "1 round, as asked for"
    more = cli(words(servers, data, out, "--rounds", "2"))
    assert more.returncode == 0, more.stderr
    assert len(record(out)["rounds"]) == 2
    assert servers.repeats() == 0


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


def test_other_settings_are_another_loop(servers: Servers, data: Path, tmp_path: Path) -> None:
    """They are named, and nothing is asked."""
    out = tmp_path / "loop"
    assert cli(words(servers, data, out)).returncode == 0
    asked = len(servers.judge.bodies)
    other = cli(words(servers, data, out, "--set", "rectify.eta=0.7", "--set", "trainer.seed=5"))
    assert other.returncode == 2
    assert "holds a loop with other stages, trainer; give another --out" in other.stderr
    write_rows(data, ROWS + 2)
    changed = cli(words(servers, data, out))
    assert changed.returncode == 2
    assert "holds a loop with other data" in changed.stderr
    assert len(servers.judge.bodies) == asked


def test_too_few_rows_to_train(servers: Servers, data: Path, tmp_path: Path) -> None:
    """Their number is told before anything is uploaded; with more of them the loop goes on.

    No score is asked for again.
    """
    out = tmp_path / "loop"
    few = cli(words(servers, data, out, "--set", "filter.keep.count=8"))
    assert few.returncode == 2
    assert "these rows cannot be trained on" in few.stderr
    (told,) = re.findall(r"train\.jsonl: (\d+) rows, at least 10 are needed", few.stderr)
    tests = len((out / "test.jsonl").read_text().splitlines())
    assert 0 < int(told) <= 8 - tests
    assert not servers.platform.files
    more = cli(words(servers, data, out))
    assert more.returncode == 0, more.stderr
    assert len((out / "test.jsonl").read_text().splitlines()) > tests
    assert servers.repeats() == 0


def test_own_test_rows(servers: Servers, data: Path, tmp_path: Path) -> None:
    """With --test no row of DATA is held out, and these rows are asked about."""
    test = tmp_path / "test.jsonl"
    lines = [{"prompt": f"thing {n}?", "completion": f"right {n}"} for n in range(100, 120)]
    test.write_text("".join(json.dumps(line) + "\n" for line in lines))
    out = tmp_path / "loop"
    done = cli(words(servers, data, out, "--test", str(test), "--metric", "exact_match"))
    assert done.returncode == 0, done.stderr
    found = record(out)
    assert (found["test_rows"], found["test"]) == (20, str(test))
    assert not (out / "test.jsonl").exists()
    (only,) = found["rounds"]
    assert value(only["gains"], "exact_match") == 0.75  # the base is right about 5 of 20


def test_general_rows_that_ask_what_test_rows_ask(
    servers: Servers, data: Path, tmp_path: Path
) -> None:
    """None of them is trained on, and the file that is trained on is searched for test rows."""
    test, general = tmp_path / "test.jsonl", tmp_path / "general.jsonl"
    things = [json.dumps({"prompt": f"thing {n}?", "completion": "it"}) for n in range(100, 160)]
    test.write_text("\n".join(things[:20]))
    general.write_text("\n".join(things))
    out = tmp_path / "loop"
    mix = f"trainer.mix={{data: {general}, share: 0.8}}"
    done = cli(words(servers, data, out, "--test", str(test), "--set", mix))
    assert done.returncode == 0, done.stderr
    trained_on = (out / "round-1" / "final" / "data" / "mixed.jsonl").read_text()
    drawn = {n for n in range(100, 160) if f'"thing {n}?"' in trained_on}
    assert drawn
    assert drawn <= set(range(120, 160))
    assert "left out 20 general rows that ask what" in done.stderr
    report = json.loads((out / "round-1" / "evaluation" / "evaluation.json").read_text())
    assert [Path(leak["file"]).name for leak in report["leaks"]] == ["mixed.jsonl"]


def test_priced_work_is_not_begun_unasked(servers: Servers, data: Path, tmp_path: Path) -> None:
    """Without a terminal and --yes it is exit code 2; with it the price is told first."""
    price = ("--set", "models.scorer.price_per_mtok={input: 1, output: 1}")
    refused = cli(words(servers, data, tmp_path / "loop", *price))
    assert refused.returncode == 2
    assert "this loop costs money" in refused.stderr
    assert not servers.judge.bodies
    done = cli(words(servers, data, tmp_path / "loop", *price, "--yes"))
    assert done.returncode == 0, done.stderr
    assert done.stderr.index("estimate of a round") < done.stderr.index("round 1 of 1: score")
    assert record(tmp_path / "loop")["rounds"][0]["spent"]["usd"] > 0


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
