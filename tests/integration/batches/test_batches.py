"""A run through the Batch API of a real server: rounds, sizes, other modes, caps, status."""

from __future__ import annotations

import io
import json
import re
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from rich.console import Console

from batch_server import BatchServer, result_line
from batch_visits import ONE_QUESTION, ROWS, Visits, spend
from clear_pipeline.config import build_config
from clear_pipeline.errors import BatchPendingError, BudgetExceededError, UsageError
from clear_pipeline.estimate import Estimate
from clear_pipeline.estimate.learning import ENOUGH
from clear_pipeline.llm.batch.record import RECORD, Record
from clear_pipeline.llm.meter import Amount, Totals
from clear_pipeline.pipeline import Pipeline
from clear_pipeline.report import views
from clear_pipeline.run import open_run
from stub_server import Body, StubServer, completion, status, vllm

DEMO = Path(__file__).parents[3] / "data" / "demo"


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


def test_embeddings_beside_batches_revise_no_estimate(tmp_path: Path, server: BatchServer) -> None:
    """They are more than 50 live calls, but what is left is asked in batches, at their price."""
    data = tmp_path / "rows.jsonl"
    rows = [{"prompt": f"What is {n}?", "response": f"It is {n}."} for n in range(30)]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with StubServer() as embedder:
        scorer = {"model": "stub", "base_url": server.url, "backoff_s": 0.001}
        models = {"scorer": scorer, "embedder": {"model": "e", "base_url": embedder.url}}
        config = build_config(
            flags={"models": models, "mode": "batch"},
            stages=["score", "filter", "rectify"],
            assignments=[*ONE_QUESTION, "score.k=2", "score.similarity=embeddings"],
        )
        for _ in range(2):
            with pytest.raises(BatchPendingError):
                Pipeline(config, before_calls=lambda _: None).run(data, out=tmp_path / "run")
        assert sum(len(asked["input"]) for asked in embedder.embedded) > ENOUGH
    manifest = open_run(tmp_path / "run").manifest
    assert [manifest.stage(name) is not None for name in ("score", "filter")] == [True, True]
    assert manifest.revised_estimate == {}


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
        ask = f"vllm run-batch -i {requests} -o {results}.part --model stub"
        assert f"{ask} && mv {results}.part {results}\n" in told
        lines = [json.loads(line) for line in requests.read_text().splitlines()]
        answered = lines[left_out:][::-1]
        results.write_text(
            "".join(result_line(e["custom_id"], 200, completion(e["body"])) for e in answered)
        )
    run = offline.visit()
    assert pq.read_table(run.path / "ledger.parquet") == pq.read_table(live.path / "ledger.parquet")


def test_results_that_are_still_written_are_waited_for(data: Path, tmp_path: Path) -> None:
    """Two of six and a bit: none is taken in, nothing is asked again; then all are, at once."""
    offline = Visits(data, tmp_path / "run", "http://127.0.0.1:9/v1", mode="offline")
    offline.wait()
    folder = offline.out / "batches"
    asked = [json.loads(line) for line in (folder / "requests-1.jsonl").read_text().splitlines()]
    lines = [result_line(each["custom_id"], 200, completion(each["body"])) for each in asked]
    growing = folder / "results-1.jsonl.part"
    growing.write_text("".join(lines[:2]) + lines[2][:40])
    assert "batch 1: written, 2 of 6 done" in offline.wait()
    growing.write_text("".join(lines))
    assert "batch 1: written, 6 of 6 done" in offline.wait()
    growing.rename(folder / "results-1.jsonl")
    offline.visit()
    assert not (folder / "requests-2.jsonl").exists()


def test_whole_results_are_used_though_their_batch_is_given_up(data: Path, tmp_path: Path) -> None:
    """Of two files of an offline run one has its results: `batch cancel` gives up the other."""
    offline = Visits(data, tmp_path / "run", "http://127.0.0.1:9/v1", mode="offline")
    offline.settings.append("batch.max_requests=4")
    offline.wait()
    folder = offline.out / "batches"
    asked = [json.loads(line) for line in (folder / "requests-1.jsonl").read_text().splitlines()]
    lines = [result_line(each["custom_id"], 200, completion(each["body"])) for each in asked]
    (folder / "results-1.jsonl").write_text("".join(lines))
    command = [sys.executable, "-m", "clear_pipeline", "batch", "cancel", str(offline.out)]
    told = subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
    assert {"completed", "cancelled"} <= set(told.stdout.split())
    offline.wait()
    assert "batch 1 (score): completed, 4 of 4 requests answered" in offline.notes
    assert len((folder / "requests-3.jsonl").read_text().splitlines()) == ROWS - 4


def test_an_estimate_before_the_first_round_takes_no_round(data: Path, tmp_path: Path) -> None:
    """The first file asks about all rows, and beside them whether the endpoint scores a text."""
    config = build_config(
        flags={
            "models": {"scorer": {"model": "stub", "base_url": "http://127.0.0.1:9/v1"}},
            "mode": "offline",
        },
        stages=["score", "filter"],
        preset="fast",
    )
    estimates: list[Estimate] = []
    with pytest.raises(BatchPendingError):
        Pipeline(config, before_calls=estimates.append).run(data, out=tmp_path / "run")
    (requests,) = (tmp_path / "run" / "batches").glob("requests-*.jsonl")
    assert len(requests.read_text().splitlines()) == ROWS + 1
    assert [estimate.rows for estimate in estimates] == [ROWS]


def test_what_an_offline_engine_refuses_is_read_as_live(data: Path, tmp_path: Path) -> None:
    """Those of vLLM have no body: a long prompt is `context`, a refused parameter is left out."""
    offline = Visits(data, tmp_path / "run", "http://127.0.0.1:9/v1", mode="offline")
    offline.settings += ["score.max_failed_fraction=1"]
    long = "This model's maximum context length is 9 tokens."
    unknown = {"error": {"message": "Unknown parameter: 'temperature'", "param": "temperature"}}
    for number, refused in ((1, True), (2, False)):
        offline.wait()
        asked = (offline.out / "batches" / f"requests-{number}.jsonl").read_text().splitlines()
        lines = []
        for entry in map(json.loads, asked):
            line = json.loads(result_line(entry["custom_id"], 200, completion(entry["body"])))
            if "What is 3 + 1?" in str(entry["body"]["messages"]):
                line |= {"response": {"status_code": 400, "body": None}, "error": long}
            elif refused:
                line |= {"response": {"status_code": 400, "body": None}, "error": unknown}
            lines.append(json.dumps(line) + "\n")
            assert ("temperature" in entry["body"]) == refused
        (offline.out / "batches" / f"results-{number}.jsonl").write_text("".join(lines))
    ledger = offline.visit().ledger(["score_error"])
    errors = [error for error in ledger["score_error"].to_pylist() if error is not None]
    assert errors == [f"context: {long}"]


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


def test_what_is_reserved_for_open_batches_is_told(visits: Visits, server: BatchServer) -> None:
    """Nothing is billed yet; each is unaccounted at its bound, until it has ended."""
    server.course = ("in_progress", "completed")
    visits.wait()
    with closing(Record(visits.out / "batches" / RECORD)) as record:
        (batch,) = record.open()
    run = open_run(visits.out)
    total = run.usage()["stub, batches"]
    assert (total.requests, total.usd, total.unaccounted) == (ROWS, 0.0, batch.most)
    assert batch.most.nanodollars > 0
    tokens, price = f"{batch.most.tokens:,} tokens", f"${batch.most.usd:,.4f}"
    assert run.spend() == (
        f"6 calls, {tokens}, {price} (6 calls unaccounted: at most {tokens}, {price})"
    )
    shown = io.StringIO()
    Console(file=shown, width=120).print(views.status(run))
    assert "price not known" not in shown.getvalue()
    run, _ = visits.finish()
    total = run.usage()["stub, batches"]
    assert (total.requests, total.unaccounted) == (ROWS, Amount())
    assert total.usd == pytest.approx(42e-6)


def test_batches_that_came_to_nothing_reserve_nothing(visits: Visits, server: BatchServer) -> None:
    """Once they are given up, no cap counts them any more."""
    visits.wait()
    with closing(Record(visits.out / "batches" / RECORD)) as record:
        record.end(record.open()[0], failures={})
    assert open_run(visits.out).usage()["stub, batches"] == Totals(usd=0.0)
    visits.settings.append(f"budget.max_calls={ROWS}")
    visits.finish()
    assert server.answered.total() == ROWS


def test_status_without_the_provider(visits: Visits, server: BatchServer) -> None:
    """Where it does not answer, the batches are shown as they were last seen, and that is said."""
    visits.wait()
    server.faults += [status(503)] * 9
    command = [sys.executable, "-m", "clear_pipeline", "status", str(visits.out)]
    shown = subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
    assert "validating" in shown.stdout
    assert shown.stderr.startswith("batches as they were last seen: ")


def test_status_after_a_kill_within_a_step(visits: Visits, server: BatchServer) -> None:
    """The step is still to be taken back: nothing is called damaged, and nothing paid anew."""
    visits.wait()
    stop_within_a_step(visits.out / "batches" / RECORD)
    command = [sys.executable, "-m", "clear_pipeline", "status", str(visits.out), "--json"]
    shown = subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
    status = json.loads(shown.stdout)
    assert status["usage"]["stub, batches"]["requests"] == ROWS
    assert status["batches"] == []
    assert open_run(visits.out).spent().calls == ROWS
    assert "open batches are not shown: " in shown.stderr
    assert "until then its sums are those in the manifest" in shown.stderr
    assert "delete" not in shown.stderr
    visits.finish()
    assert server.answered.total() == ROWS


def stop_within_a_step(path: Path) -> None:
    """Leave a file and its journal as a process does that is killed before it commits."""
    killed = path.parent / "killed"
    killed.mkdir()
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA cache_size = 1")  # so that pages are written before the commit
        db.execute("BEGIN IMMEDIATE")
        db.execute("UPDATE batches SET tag = hex(zeroblob(100000))")
        db.execute("UPDATE requests SET question = hex(zeroblob(10000))")
        for file in path.parent.glob(f"{path.name}*"):
            shutil.copy(file, killed)
    for file in killed.iterdir():
        shutil.move(file, path.parent / file.name)
    killed.rmdir()
