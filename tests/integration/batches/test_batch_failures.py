"""Batches that go wrong: lost answers, crashes, refusals, endpoints that have none."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from aiohttp import web

from batch_server import BatchServer, Outcome, error_line
from batch_visits import ROWS, Visits, spend
from clear_pipeline.config import build_config
from clear_pipeline.errors import BudgetExceededError, RunFailedError, UsageError
from clear_pipeline.llm.batch.record import RECORD, Record
from clear_pipeline.pipeline import Pipeline
from clear_pipeline.run import open_run
from stub_server import Body, StubServer, completion, page, status, text_choice


@pytest.mark.parametrize("bad", ["fail", "expire", "lose"])
def test_only_what_failed_is_asked_again(visits: Visits, server: BatchServer, bad: Outcome) -> None:
    """Two of six requests get no answer: the next batch has them alone, and all have one answer.

    What a provider says nothing of may be billed, so it counts at the most that it can take.
    """
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
    unaccounted = run.usage()["stub, batches"].unaccounted
    assert unaccounted.calls == (2 if bad == "lose" else 0)
    assert (unaccounted.tokens > 0) == (bad == "lose")


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


def test_a_failed_row_is_given_up_while_later_stages_wait(
    visits: Visits, server: BatchServer
) -> None:
    """Three rounds of score, two of rectify, and a row that is asked three times in all."""
    stubborn: list[str] = []

    def outcome(id_: str, _: int) -> Outcome:
        stubborn[:] = stubborn or [id_]
        return "fail" if id_ in stubborn else "answer"

    server.outcome = outcome
    visits.stages = ["score", "filter", "rectify"]
    visits.settings += ["models.scorer.max_attempts=3", "score.max_failed_fraction=1"]
    run, waits = visits.finish()
    assert (waits, server.asked[stubborn[0]]) == (5, 3)
    assert run.ledger(["fate"])["fate"].to_pylist().count("unscored") == 1


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


def test_a_live_run_submits_no_batch_that_was_only_meant(
    visits: Visits, server: BatchServer
) -> None:
    """Killed before the batch was created: a live run gives it up, and asks its questions once."""
    visits.killed(server, "uploaded")
    run = visits.visit("live")
    assert (server.batches, len(server.live)) == ({}, ROWS)
    assert "batch 1 was never submitted; what it asks is asked anew" in visits.notes
    assert run.ledger(["score_status"])["score_status"].to_pylist() == ["scored"] * ROWS


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


def test_a_page_in_place_of_a_list_is_waited_for(visits: Visits, server: BatchServer) -> None:
    """What a proxy puts in the way of the batch paths is no answer, and breaks nothing."""
    server.faults += [page, page]  # in place of what the server can, then of its batches
    visits.wait()
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
    lost = open_run(visits.out).usage()["stub, batches"].unaccounted
    assert (lost.calls, lost.tokens > 0, lost.nanodollars > 0) == (ROWS, True, True)
    visits.settings.append(f"budget.max_calls={ROWS}")
    with pytest.raises(BudgetExceededError, match="stopped by max_calls"):
        visits.visit()
    visits.settings[-1] = f"budget.max_calls={2 * ROWS}"
    run, waits = visits.finish()
    assert (waits, server.answered.total(), len(forgotten)) == (1, ROWS, 1)
    assert run.usage()["stub, batches"].unaccounted == lost
    assert run.spent().calls == 2 * ROWS


@pytest.mark.parametrize("file", ["there", "gone"])
def test_answers_without_a_count_stay_at_their_bounds(
    visits: Visits, server: BatchServer, file: str
) -> None:
    """As live: nobody knows what they took, so a cap counts them at the most; others as billed."""

    def reply(body: Body) -> Body:
        if "What is 3 + 1?" in str(body["messages"]):
            return completion(body, usage={"prompt_tokens": 0, "completion_tokens": 0})
        return completion(body)

    server.reply = reply
    visits.wait()
    with closing(Record(visits.out / "batches" / RECORD)) as record:
        (batch,) = record.open()
    if file == "gone":
        (visits.out / "batches" / "requests-1.jsonl").unlink()
    run = visits.visit()
    total = run.usage()["stub, batches"]
    assert (total.requests, total.usage.prompt, total.unaccounted.calls) == (ROWS, 50, 1)
    bound, whole = total.unaccounted, batch.most
    if file == "gone":
        assert (bound.tokens, bound.nanodollars) == (whole.tokens, whole.nanodollars)
    else:
        assert bound.tokens == pytest.approx(whole.tokens / ROWS, rel=0.01)
        assert bound.nanodollars == pytest.approx(whole.nanodollars / ROWS, rel=0.01)
    assert run.spent() == total.spent


def test_a_key_that_results_repeat_is_kept_nowhere(
    visits: Visits, server: BatchServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is sent to the endpoint, and cut out of replies, also in parts, of reasons and errors."""
    key = "sk-planted-0123456789"
    monkeypatch.setenv("PLANTED", key)
    visits.settings += ["models.scorer.api_key_env=PLANTED", "score.max_failed_fraction=1"]
    parts = [{"type": "text", "text": text} for text in (f"Yes {key} {key[:9]}", key[9:])]
    said = text_choice(None, message={"role": "assistant", "content": parts})
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
