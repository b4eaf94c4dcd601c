"""A run through the Batch API of a real server: rounds, failures, crashes, limits, spend."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from aiohttp import web

from batch_server import BatchServer, Outcome, error_line, result_line
from clear_pipeline.config import build_config
from clear_pipeline.errors import (
    BatchPendingError,
    BudgetExceededError,
    RunFailedError,
    UsageError,
)
from clear_pipeline.pipeline import Pipeline
from clear_pipeline.run import Run
from clear_pipeline.stages.base import SilentProgress
from stub_server import Body, StubServer, completion, status, text_choice, vllm

DEMO = Path(__file__).parents[2] / "data" / "demo"
ROWS = 6
ONE_QUESTION = ["score.preset=paper", "score.k=0", "score.reflection=[yes_no]"]
PRICE = "models.scorer.price_per_mtok={input: 1.0, output: 2.0}"


@pytest.fixture
def server() -> Iterator[BatchServer]:
    with BatchServer() as server:
        server.course = ("completed",)
        yield server


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Rows of one sentence, so that each is asked one question."""
    path = tmp_path / "rows.jsonl"
    rows = [{"prompt": f"What is {n} + 1?", "response": str(n + 1)} for n in range(ROWS)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


class Visits:
    """The same run command, again and again."""

    def __init__(self, data: Path, out: Path, url: str, *, mode: str = "batch") -> None:
        self.data, self.out, self.mode = data, out, mode
        self.url = url
        self.stages = ["score", "filter"]
        self.settings = [*ONE_QUESTION, PRICE, "filter.keep={above: median}"]
        self.notes: list[str] = []

    def visit(self, mode: str | None = None) -> Run:
        progress = SilentProgress()
        config = build_config(
            flags={
                "models": {"scorer": {"model": "stub", "base_url": self.url, "backoff_s": 0.001}},
                "mode": mode or self.mode,
            },
            stages=self.stages,
            assignments=self.settings,
        )
        try:
            return Pipeline(config, progress=progress).run(self.data, out=self.out)
        finally:
            self.notes = progress.notes

    def wait(self) -> str:
        """A visit that ends with open batches; what it tells."""
        with pytest.raises(BatchPendingError) as pending:
            self.visit()
        return str(pending.value)

    def finish(self, most: int = 10) -> tuple[Run, int]:
        """Come back until the run is done; also how often it had to be waited for."""
        for waits in range(most):
            try:
                return self.visit(), waits
            except BatchPendingError:
                continue
        raise AssertionError(f"not done after {most} visits")

    def command(self) -> list[str]:
        """The same as a process."""
        assignments = [*self.settings, "models.scorer.backoff_s=0.001"]
        return [
            sys.executable, "-m", "clear_pipeline", "run", str(self.data), "--out", str(self.out),
            "--base-url", self.url, "--model", "stub", "--mode", self.mode, "--yes",
            "--stages", ",".join(self.stages),
            *(word for text in assignments for word in ("--set", text)),
        ]  # fmt: skip

    def killed(self, server: BatchServer, hook: str) -> None:
        """A visit whose process is killed when the server comes to that point."""
        process = subprocess.Popen(self.command(), stdout=subprocess.DEVNULL, stderr=-3)
        setattr(server, hook, lambda: os.kill(process.pid, signal.SIGKILL))
        assert process.wait(timeout=300) == -signal.SIGKILL
        setattr(server, hook, lambda: None)


@pytest.fixture
def visits(data: Path, tmp_path: Path, server: BatchServer) -> Visits:
    return Visits(data, tmp_path / "run", server.url)


def spend(run: Run) -> tuple[int, int, float]:
    """Prompt tokens, completion tokens and micro-dollars of the batches."""
    used = run.manifest.usage["stub, batches"]
    return used["usage"]["prompt"], used["usage"]["completion"], round(1e6 * used["usd"], 6)


def test_a_batch_run_comes_to_what_a_live_run_does(tmp_path: Path, server: BatchServer) -> None:
    """All stages that ask, through batches: the same ledger and files, byte for byte."""
    ways = {}
    for mode in ("live", "batch"):
        visits = Visits(DEMO, tmp_path / mode, server.url, mode=mode)
        visits.stages = ["dedup", "score", "cascade", "filter", "rectify"]
        visits.settings = ["cascade.k=2", "load.shard_rows=20"]
        run, waits = visits.finish()
        assert waits == {"live": 0, "batch": 6}[mode]
        files = [run.path / "ledger.parquet", *sorted((run.path / "export").iterdir())]
        ways[mode] = [(file.name, file.read_bytes()) for file in files]
    assert ways["batch"] == ways["live"]
    assert max(server.answered.values()) == 1


def test_the_bodies_are_those_of_a_live_run(
    visits: Visits, data: Path, tmp_path: Path, server: BatchServer
) -> None:
    """A batch line carries exactly the body that is posted live."""
    Visits(data, tmp_path / "live", server.url, mode="live").visit()
    visits.wait()
    (batch,) = server.batches.values()

    def key(body: Body) -> str:
        return json.dumps(body, sort_keys=True)

    sent = sorted((line["body"] for line in batch.lines), key=key)
    assert sent == sorted(server.live, key=key)


def test_each_wait_tells_what_is_open_and_how_many_rounds_are_left(
    visits: Visits, server: BatchServer
) -> None:
    """Requests, state, counts, the number of rounds; the last one is called so."""
    server.course = ("in_progress", "finalizing", "completed")
    visits.stages = ["score", "filter", "rectify"]
    told = visits.wait()
    assert "score waits for the answers to 6 requests (batch 1: validating, 0 of 6 done)" in told
    assert "at most 3 rounds are left, this one included" in told
    assert "batch 1: in_progress" in visits.wait()
    assert "batch 1: finalizing" in visits.wait()
    told = visits.wait()
    assert "rectify waits for the answers" in told
    assert "at most 2 rounds are left, this one included" in told
    for _ in range(2):
        visits.wait()
    assert "this is the last round" in visits.wait()
    assert len(server.batches) == 3


@pytest.mark.parametrize(
    ("stages", "settings", "rounds"),
    [
        ("score", ["score.orders=2", "score.in_parts=true"], 1),
        ("score", ["score.k=2", "score.similarity=llm"], 2),
        ("score", ["score.k=2", "score.similarity=lexical"], 1),
        ("score,cascade", ["cascade.k=2", "cascade.band=1"], 3),
        ("score,filter,rectify", ["rectify.scope=all"], 3),
    ],
)
def test_no_more_rounds_are_needed_than_are_told(
    visits: Visits, stages: str, settings: list[str], rounds: int
) -> None:
    """Independent questions share a round: the number at the first exit is how often it waits."""
    visits.stages = stages.split(",")
    visits.settings = [*ONE_QUESTION, *settings]
    told = visits.wait()
    left = re.search(r"at most (\d+) rounds|the last round", told)
    assert left is not None
    assert int(left[1] or 1) == rounds
    _, waits = visits.finish()
    assert waits + 1 <= rounds
    assert waits + 1 == rounds or "k=" in str(settings)  # equal draws need no verdicts


def test_likelihoods_come_from_batches_where_prompts_are_scored(
    visits: Visits, data: Path, tmp_path: Path, server: BatchServer
) -> None:
    """As with vLLM: the ability, the length of each prompt, then the scored text; as live."""

    def reply(body: Body) -> Body:
        try:
            vllm(body).send(None)  # it waits for nothing
        except StopIteration as done:
            return dict(json.loads(done.value.text))
        raise AssertionError

    server.reply = reply
    visits.settings = ["score.preset=fast"]
    run, waits = visits.finish()
    assert waits == 4
    with StubServer(vllm) as live:
        asked = Visits(data, tmp_path / "live", live.url, mode="live")
        asked.settings = visits.settings
        same = asked.visit()
    columns = ["id", "confidence", "likelihood", "logp_given_prompt", "response_tokens"]
    assert run.ledger(columns) == same.ledger(columns)


@pytest.mark.parametrize("bad", ["fail", "expire", "lose"])
def test_only_what_failed_is_asked_again(visits: Visits, server: BatchServer, bad: Outcome) -> None:
    """Two of six requests get no answer: the next batch has them alone, and all have one answer."""
    unlucky: set[str] = set()

    def outcome(id_: str, asked: int) -> Outcome:
        if asked == 1 and len(unlucky) < 2:
            unlucky.add(id_)
            return bad
        return "answer"

    server.outcome = outcome
    run, waits = visits.finish()
    assert waits == 2
    first, second = server.batches.values()
    assert len(first.lines) == ROWS
    assert {line["custom_id"] for line in second.lines} == unlucky
    assert set(server.answered.values()) == {1}
    assert run.ledger(["score_status"])["score_status"].to_pylist() == ["scored"] * ROWS
    assert spend(run) == (60, 12, (60 * 1.0 + 12 * 2.0) / 2)


def test_a_request_that_keeps_failing_makes_its_row_unscored(
    visits: Visits, server: BatchServer
) -> None:
    """After `max_attempts` submissions, with the reason, and the next run asks anew."""
    stubborn: list[str] = []

    def outcome(id_: str, _: int) -> Outcome:
        stubborn[:] = stubborn or [id_]
        return "expire" if id_ in stubborn else "answer"

    server.outcome = outcome
    visits.settings += ["models.scorer.max_attempts=3", "score.max_failed_fraction=1"]
    run, waits = visits.finish()
    assert (waits, server.asked[stubborn[0]]) == (3, 3)
    rows = run.ledger(["fate", "score_error"]).to_pylist()
    (unscored,) = [row["score_error"] for row in rows if row["fate"] == "unscored"]
    assert unscored == "timeout: its batch expired before it was answered"
    server.outcome = lambda _, __: "answer"
    run, waits = visits.finish()
    assert (waits, server.asked[stubborn[0]]) == (1, 4)
    assert "unscored" not in run.ledger(["fate"])["fate"].to_pylist()


def test_odd_results_are_left_out_and_told(visits: Visits, server: BatchServer) -> None:
    """A result twice, one of no request and a broken line change nothing."""

    def odd(lines: list[str]) -> list[str]:
        other = lines[0].replace(json.loads(lines[0])["custom_id"], "unknown-id")
        return [lines[0], other, "{\n"]

    server.odd_lines = odd
    visits.wait()
    visits.visit()
    told = next(note for note in visits.notes if note.startswith("batch 1"))
    assert told == (
        "batch 1 (score): completed, 6 of 6 requests answered, results left out: "
        "1 of no request of it, 1 repeated, 1 unreadable"
    )


@pytest.mark.parametrize("hook", ["uploaded", "created", "fetched"])
def test_a_killed_run_finds_what_it_had_done(
    visits: Visits, server: BatchServer, hook: str
) -> None:
    """Killed before it wrote down a file, a batch, results: one of each, billed once."""
    server.page = 1
    if hook == "fetched":
        visits.wait()
    visits.killed(server, hook)
    run, _ = visits.finish()
    inputs = [file for file in server.files.values() if file.name.startswith("clear-pipeline-")]
    assert (len(inputs), len(server.batches)) == (1, 1)
    assert server.answered.total() == ROWS
    assert spend(run) == (60, 12, 42.0)


def test_a_batch_that_was_created_though_the_reply_was_lost_is_taken(
    visits: Visits, server: BatchServer
) -> None:
    """HTTP 500 after the batch came to be: it is looked for, not created again."""
    failures = iter([web.HTTPInternalServerError()])

    def lost() -> None:
        for failure in failures:
            raise failure

    server.created = lost
    visits.wait()
    assert len(server.batches) == 1


def test_refusals_of_the_batch_paths_are_waited_for(visits: Visits, server: BatchServer) -> None:
    """429 and 503 on the way are tried again; one file and one batch come of it."""
    visits.wait()
    server.faults += [status(429, headers={"Retry-After": "0"}), status(503)]
    visits.visit()
    assert len(server.batches) == 1


def test_a_batch_that_fails_as_a_whole_stops_the_run(visits: Visits, server: BatchServer) -> None:
    """The provider's reason is told; the same command submits the requests again."""
    server.max_requests = 5
    visits.wait()
    with pytest.raises(RunFailedError, match=r"failed as a whole: the file is not valid, or has"):
        visits.visit()
    server.max_requests = 6
    _, waits = visits.finish()
    assert (waits, server.answered.total()) == (1, ROWS)


@pytest.mark.parametrize(
    ("limit", "sizes"),
    [("max_requests=4", [4, 2]), ("max_requests=2", [2, 2, 2]), ("max_bytes=1500", None)],
)
def test_a_large_batch_is_split(
    visits: Visits, server: BatchServer, limit: str, sizes: list[int] | None
) -> None:
    """By requests and by bytes, into one round of several batches."""
    visits.settings.append(f"batch.{limit}")
    _, waits = visits.finish()
    assert waits == 1
    counts = [len(batch.lines) for batch in server.batches.values()]
    assert counts == sizes or (sizes is None and sum(counts) == ROWS and len(counts) > 1)
    uploads = [server.files[batch.input_file] for batch in server.batches.values()]
    if sizes is None:
        assert max(len(file.content) for file in uploads) <= 1500


def test_what_has_no_room_is_submitted_later(visits: Visits, server: BatchServer) -> None:
    """Under a limit on enqueued tokens, each visit submits what ended batches leave room for."""
    visits.settings.append("batch.max_enqueued_tokens=400")
    told = visits.wait()
    (first,) = server.batches.values()
    fit = len(first.lines)
    assert 0 < fit < ROWS
    assert f"{ROWS - fit} more have no room" in told
    visits.finish()
    assert server.answered.total() == ROWS
    assert max(len(batch.lines) for batch in server.batches.values()) == fit


def test_what_the_endpoint_refuses_is_learned_for_later_visits(
    visits: Visits, server: BatchServer
) -> None:
    """A parameter that one reply refuses is left out from then on, also by later processes."""

    def reply(body: Body) -> Body:
        if "temperature" in body:
            return {"error": {"message": "Unsupported parameter: 'temperature'", "param": None}}
        return completion(body)

    server.reply = reply
    visits.stages = ["score", "filter", "rectify"]
    visits.finish()
    with_it = [
        sum("temperature" in line["body"] for line in batch.lines)
        for batch in server.batches.values()
    ]
    assert with_it == [ROWS] + [0] * (len(with_it) - 1)
    assert len(with_it) == 4


def test_a_refused_question_is_a_failed_row(visits: Visits, server: BatchServer) -> None:
    """A 400 that nothing can be done about is not asked again, and counts as it does live."""
    visits.settings.append("score.max_failed_fraction=1")
    server.reply = lambda body: (
        {"error": {"message": "no such thing", "code": "content_filter"}}
        if "What is 3 + 1?" in str(body["messages"])
        else completion(body)
    )
    run, waits = visits.finish()
    assert waits == 1
    fates = Counter(run.ledger(["fate"])["fate"].to_pylist())
    assert fates["unscored"] == 1
    assert max(server.asked.values()) == 1


def test_an_account_without_quota_stops_the_run(visits: Visits, server: BatchServer) -> None:
    """What no request can pass is no failure of a row; what was answered beside it is kept."""
    poor: Body = {"error": {"message": "no quota", "code": "insufficient_quota"}}
    server.reply = lambda body: (
        {**poor, "status": 429} if "What is 3 + 1?" in str(body["messages"]) else completion(body)
    )
    visits.wait()
    with pytest.raises(RunFailedError, match="the account has no quota"):
        visits.visit()
    server.reply = completion
    _, waits = visits.finish()
    assert (waits, server.answered.total(), server.asked.total()) == (1, ROWS, ROWS + 1)


def test_a_cancelled_batch_gives_what_it_had(visits: Visits, server: BatchServer) -> None:
    """After `batch cancel` the answers that were there are used, and a live run asks the rest."""
    server.course = ("in_progress",) * 9
    visits.wait()
    command = [sys.executable, "-m", "clear_pipeline", "batch", "cancel", str(visits.out)]
    told = subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
    assert "cancelled" in told.stdout
    run = visits.visit("live")
    assert (server.answered.total(), len(server.live)) == (3, 3)
    assert spend(run)[0] == 30


def test_a_live_run_does_not_pay_twice(visits: Visits, server: BatchServer) -> None:
    """While a batch is open, a live run of the directory asks nothing and says what to do."""
    server.course = ("in_progress",) * 9
    visits.wait()
    with pytest.raises(UsageError, match=r"would be paid for twice.*batch cancel"):
        visits.visit("live")
    assert server.live == []


def test_live_answers_are_not_asked_for_again(visits: Visits, server: BatchServer) -> None:
    """A batch run after a live run of the same rows finds everything in the cache."""
    visits.visit("live")
    visits.settings.append("score.max_failed_fraction=0.5")
    visits.visit("batch")
    assert server.batches == {}


def test_an_offline_run_writes_files_and_reads_results(
    visits: Visits, data: Path, tmp_path: Path, server: BatchServer
) -> None:
    """Nobody is contacted; results in another order, in two files, give a live run's ledger."""
    live = Visits(data, tmp_path / "live", server.url, mode="live").visit()
    offline = Visits(data, tmp_path / "run", "http://127.0.0.1:9/v1", mode="offline")
    for number, left_out in ((1, 1), (2, 0)):
        told = offline.wait()
        requests = offline.out / "batches" / f"requests-{number}.jsonl"
        results = offline.out / "batches" / f"results-{number}.jsonl"
        assert f"vllm run-batch -i {requests} -o {results} --model stub" in told
        lines = [json.loads(line) for line in requests.read_text().splitlines()]
        answered = lines[left_out:][::-1]
        results.write_text(
            "".join(result_line(e["custom_id"], 200, completion(e["body"])) for e in answered)
        )
    run = offline.visit()
    assert pq.read_table(run.path / "ledger.parquet") == pq.read_table(live.path / "ledger.parquet")


def test_a_batch_that_the_provider_does_not_know(visits: Visits, server: BatchServer) -> None:
    """It is told, and nothing is asked again before the batch is given up."""
    visits.wait()
    forgotten = dict(server.batches)
    server.batches.clear()
    with pytest.raises(RunFailedError, match=r"does not know batch 1 .*Is the key that of"):
        visits.visit()
    assert server.batches == {}
    command = [sys.executable, "-m", "clear_pipeline", "batch", "cancel", str(visits.out)]
    told = subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
    assert "unknown" in told.stdout
    _, waits = visits.finish()
    assert (waits, server.answered.total(), len(forgotten)) == (1, ROWS, 1)


def test_an_endpoint_that_moved_is_asked_at_its_new_address(
    visits: Visits, server: BatchServer
) -> None:
    """A batch is looked for where its model is served now; the identity is the same."""
    visits.wait()
    server.hosts.clear()
    visits.url = server.url.replace("127.0.0.1", "localhost")
    visits.visit()
    assert set(server.hosts) == {f"localhost:{server.port}"}


def test_a_cap_holds_over_batches(visits: Visits, server: BatchServer) -> None:
    """Open batches count at the most that they can take, ended ones at their bill."""
    visits.settings.append("budget.max_calls=4")
    told = visits.wait()
    assert "2 more have no room until a batch has ended" in told
    assert [len(batch.lines) for batch in server.batches.values()] == [4]
    with pytest.raises(BudgetExceededError, match="stopped by max_calls") as stopped:
        visits.visit()
    assert (stopped.value.cap, stopped.value.needed) == ("max_calls", 5)
    visits.settings[-1] = "budget.max_calls=6"
    visits.finish()
    assert server.answered.total() == ROWS


def test_a_cap_in_dollars_is_held_at_the_batch_price(visits: Visits, server: BatchServer) -> None:
    """Nothing is submitted whose bound is above the cap; live calls count what batches took."""
    visits.settings.append("budget.max_usd=0.000001")
    with pytest.raises(BudgetExceededError, match="stopped by max_usd"):
        visits.visit()
    assert server.batches == {}
    visits.settings[-1] = "budget.max_usd=1"
    run, _ = visits.finish()
    assert spend(run) == (60, 12, 42.0)
    visits.settings[-1] = "budget.max_calls=6"
    visits.settings += ["score.reflection=[abc]"]
    with pytest.raises(BudgetExceededError, match="6 of 6 calls"):
        visits.visit("live")


def test_status_and_exit_code(visits: Visits, server: BatchServer) -> None:
    """The command exits with 4; `status` asks for the states and changes nothing."""
    server.course = ("in_progress",) * 9
    ended = subprocess.run(visits.command(), check=False, capture_output=True, text=True)
    assert ended.returncode == 4
    assert "The same command takes in what is there" in ended.stderr
    command = [sys.executable, "-m", "clear_pipeline", "status", str(visits.out), "--json"]
    shown = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    (batch,) = shown["batches"]
    assert (batch["state"], batch["requests"], batch["batch_id"]) == ("in_progress", 6, "batch-2")


def test_status_without_the_provider(visits: Visits, server: BatchServer) -> None:
    """Where it does not answer, the batches are shown as they were last seen, and that is said."""
    visits.wait()
    server.faults += [status(503)] * 9
    command = [sys.executable, "-m", "clear_pipeline", "status", str(visits.out)]
    shown = subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
    assert "validating" in shown.stdout
    assert shown.stderr.startswith("batches as they were last seen: ")


def test_a_key_that_results_repeat_is_kept_nowhere(
    visits: Visits, server: BatchServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is sent to the endpoint, and cut out of replies, reasons and errors."""
    key = "sk-planted-0123456789"
    monkeypatch.setenv("PLANTED", key)
    visits.settings += ["models.scorer.api_key_env=PLANTED", "score.max_failed_fraction=1"]
    said = text_choice(f"Yes {key}", index=0)
    refused: Body = {"error": {"message": f"no {key}", "code": "content_filter"}}
    server.reply = lambda body: (
        refused if "What is 3 + 1?" in str(body["messages"]) else completion(body, [said])
    )
    visits.finish()
    assert server.keys == {key}
    assert all(
        key.encode() not in path.read_bytes() for path in visits.out.rglob("*") if path.is_file()
    )


@pytest.mark.parametrize(
    ("serve", "why"),
    [
        (lambda: StubServer(llama_slots=4), "has no batch endpoint (it is a llama.cpp)"),
        (StubServer, "has no batch endpoint"),
    ],
)
def test_an_endpoint_without_batches_is_told_before_any_work(
    data: Path, tmp_path: Path, serve: Callable[[], StubServer], why: str
) -> None:
    """One sentence with what to do, and no run directory."""
    with serve() as server:
        visits = Visits(data, tmp_path / "run", server.url)
        with pytest.raises(UsageError) as refused:
            visits.visit()
        assert why in str(refused.value)
        assert "--mode offline" in str(refused.value)
        assert not visits.out.exists()


def test_the_embedded_model_has_no_batches(data: Path, tmp_path: Path) -> None:
    """Told before any work."""
    config = build_config(flags={"mode": "batch"}, stages=["score", "filter"])
    with pytest.raises(UsageError, match="answers at once"):
        Pipeline(config).run(data, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_unsent_request_is_no_answer(visits: Visits, server: BatchServer) -> None:
    """An error line with another code than expiry is asked again as well."""
    server.outcome = lambda _, asked: "lose" if asked == 1 else "answer"
    server.odd_lines = lambda _: [
        error_line(line["custom_id"], "internal")
        for batch in server.batches.values()
        for line in batch.lines
        if server.asked[line["custom_id"]] == 1
    ]
    _, waits = visits.finish()
    assert (waits, server.answered.total()) == (2, ROWS)
