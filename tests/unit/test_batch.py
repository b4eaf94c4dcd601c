"""The parts of batches that need no server: independent questions, lines, limits, the record."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest

from clear_pipeline.errors import CallError, DamagedRunError, PendingError
from clear_pipeline.llm.base import OMIT, ChatRequest, Usage
from clear_pipeline.llm.batch.batch import Batch
from clear_pipeline.llm.batch.lines import (
    Question,
    Sent,
    prompt_tokens,
    request_line,
    results,
    sent_by_id,
)
from clear_pipeline.llm.batch.queue import Queue
from clear_pipeline.llm.batch.record import Record, read_totals
from clear_pipeline.llm.batch.settings import BatchSettings
from clear_pipeline.llm.dialect import Dialect
from clear_pipeline.llm.meter import Amount, Totals
from clear_pipeline.llm.pending import Independent
from clear_pipeline.llm.settings import ModelSettings, Prices
from clear_pipeline.llm.wire import usage_bound
from clear_pipeline.schema import JSON, Message, Role
from clear_pipeline.stages.base import map_rows

MODEL = ModelSettings(model="stub", base_url="http://127.0.0.1:1/v1")
BODY = {"model": "stub", "messages": [{"role": "user", "content": "Hi"}]}


REQUEST = ChatRequest((Message(Role.USER, "Hi"),), max_output_tokens=1, temperature=0.0)


def question(number: int, samples: range = range(1)) -> Question:
    return Question(f"hash{number}", REQUEST.with_samples(samples))


def test_a_pending_question_does_not_keep_others_from_being_asked() -> None:
    """All parts of the block run; it ends with the first of the pending ones."""
    asked = []

    def ask() -> None:
        with Independent() as independent:
            for name in ("first", "second", "third"):
                with independent.part():
                    asked.append(name)
                    if name != "first":
                        raise PendingError(name)

    with pytest.raises(PendingError, match="second"):
        ask()
    assert asked == ["first", "second", "third"]


def test_another_error_ends_the_block_at_once() -> None:
    """An error that is not pending is raised where it happens, whatever is pending."""

    def ask() -> None:
        with Independent() as independent:
            with independent.part():
                raise PendingError("later")
            with independent.part():
                raise CallError("outage", "now", transient=True)

    with pytest.raises(CallError):
        ask()


def test_pending_rows_do_not_stop_the_others() -> None:
    """`map_rows` works on every row before it says that some wait."""
    seen = []

    async def ask(row: int) -> int:
        seen.append(row)
        if row % 2:
            raise PendingError(str(row))
        return row

    with pytest.raises(PendingError):
        asyncio.run(map_rows(ask, range(5), limit=2))
    assert sorted(seen) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    "asked",
    [
        replace(REQUEST, samples=range(2, 5), seed=7, top_logprobs=20, stop=("a", "b")),
        replace(REQUEST, temperature=OMIT, tools="[]", response_format="{}", score_from=3),
        replace(REQUEST, grammar='root ::= "x"', top_logprobs=0, max_output_tokens=9),
        replace(REQUEST, count_only=True),
    ],
)
def test_a_question_is_read_back_without_its_messages(asked: ChatRequest) -> None:
    """Every field that a reply is read by survives the record, omitted ones as omitted."""
    stored = Question.from_json(Question("hash", asked).to_json())
    assert stored == Question("hash", replace(asked, messages=()))
    assert stored.id == Question("hash", asked).id


def test_a_question_of_an_older_record_wants_an_answer() -> None:
    """Records did not always say which prompts are only counted."""
    stored = json.loads(question(1).to_json())
    del stored["count_only"]
    assert not Question.from_json(json.dumps(stored)).request.count_only


def test_other_samples_are_another_line() -> None:
    """The id tells samples of one question apart, and questions."""
    asked = [question(1), question(1, range(2)), question(1, range(1, 2)), question(2)]
    assert len({each.id for each in asked}) == 4


def test_lines_are_openai_s() -> None:
    """A line of requests has id, method, path and body; its body is read back but for the text."""
    asked = question(1)
    line = request_line(asked, BODY)
    assert line == (
        f'{{"custom_id":"{asked.id}","method":"POST","url":"/v1/chat/completions",'
        '"body":{"model":"stub","messages":[{"role":"user","content":"Hi"}]}}\n'
    )
    assert sent_by_id([line.encode()]) == {
        asked.id: Sent({"model": "stub", "messages": []}, usage_bound(BODY))
    }


def test_results_of_engines_that_differ() -> None:
    """A reply, an error without a reply, and what is neither."""
    lines = (
        b'{"custom_id": "a", "response": {"status_code": 200, "body": {"x": 1}}, "error": null}',
        b'{"custom_id": "b", "response": null, "error": {"code": "batch_expired"}}',
        b'{"custom_id": 3}', b"[]", b"", b"{",
    )  # fmt: skip
    first, second, *others = results(lines)
    assert first is not None
    assert (first.id, first.status, first.reply) == ("a", 200, {"x": 1})
    assert second is not None
    assert (second.id, second.status, second.code) == ("b", 0, "batch_expired")
    assert others == [None, None, None]


@pytest.mark.parametrize(
    ("error", "reply"),
    [
        ("too long", "too long"),
        ({"error": {"message": "too long"}}, {"error": {"message": "too long"}}),
        (None, "no reason given"),
    ],
)
def test_a_refusal_without_a_body_is_read_beside_it(error: JSON, reply: JSON) -> None:
    """As `vllm run-batch` writes it: a text or an object, of a response that has a status."""
    line = {"custom_id": "a", "response": {"status_code": 400, "body": None}, "error": error}
    (result,) = results([json.dumps(line).encode()])
    assert result is not None
    assert (result.status, result.reply) == (400, reply)


def test_a_text_says_why_a_request_was_not_sent() -> None:
    """Where OpenAI has an object with a code."""
    (result,) = results([b'{"custom_id": "a", "response": null, "error": "shut down"}'])
    assert result is not None
    assert (result.status, result.code, result.message) == (0, "unknown", "shut down")


def sizes(limits: BatchSettings, *, enqueued: int = 0) -> list[tuple[int, int]]:
    """Requests and tokens of the batches that seven equal questions are cut into."""
    queue = Queue(limits)
    for number in range(7):
        queue.add(question(number), BODY)
        queue.add(question(number), BODY)  # once is enough
    assert len(queue) == 7
    return [(part.requests, part.tokens) for part in queue.parts(enqueued=enqueued)]


def test_a_queue_is_cut_by_each_limit() -> None:
    """Seven questions of 170 bytes and 15 tokens, cut by requests, bytes and enqueued tokens."""
    size, tokens = len(request_line(question(0), BODY)), prompt_tokens(BODY)
    assert (size, tokens) == (170, 15)
    assert sizes(BatchSettings()) == [(7, 105)]
    assert sizes(BatchSettings(max_requests=3)) == [(3, 45), (3, 45), (1, 15)]
    assert sizes(BatchSettings(max_bytes=2 * size)) == [(2, 30), (2, 30), (2, 30), (1, 15)]
    assert sizes(BatchSettings(max_enqueued_tokens=60)) == [(4, 60)]
    assert sizes(BatchSettings(max_enqueued_tokens=60), enqueued=31) == [(1, 15)]
    assert sizes(BatchSettings(max_enqueued_tokens=60), enqueued=60) == []


def test_a_queue_stops_where_a_cap_would_not_hold() -> None:
    """The bound of what is cut off is all questions' bounds, at the batch price."""
    queue = Queue(BatchSettings(), prices=Prices(input=1.0, output=2.0))
    for number in range(3):
        queue.add(question(number), {**BODY, "max_tokens": 10})
    first = queue.first
    assert first is not None
    prompt = first.tokens - 10
    assert first == Amount(1, prompt + 10, (prompt * 1_000 + 10 * 2_000) // 2)
    (part,) = queue.parts(enqueued=0, fits=lambda total: total.calls <= 2)
    assert part.most == first + first
    assert queue.parts(enqueued=0, fits=lambda _: False) == []


@pytest.mark.parametrize(
    "limits", [BatchSettings(max_bytes=10), BatchSettings(max_enqueued_tokens=10)]
)
def test_a_question_larger_than_a_batch_is_refused(limits: BatchSettings) -> None:
    """It could wait for ever: its row fails with the settings that would help."""
    with pytest.raises(CallError, match=r"batch\.max_bytes or batch\.max_enqueued_tokens"):
        Queue(limits).add(question(1), BODY)


def test_text_that_is_no_utf_8_is_refused() -> None:
    """A lone surrogate fails its own row, not the batch."""
    body = {"model": "stub", "messages": [{"role": "user", "content": "\ud800"}]}
    with pytest.raises(CallError, match="not sendable as UTF-8"):
        Queue(BatchSettings()).add(question(1), body)


def batch(number: int) -> Batch:
    return Batch(
        number, f"tag{number}", "score", 1, False, MODEL, 2, 30, "sha", "intended",
        most=Amount(2, 500, 9),
    )  # fmt: skip


def test_the_record_survives_its_process(tmp_path: Path) -> None:
    """What was entered is there when the file is opened again: intent, id, questions, attempts.

    What an open batch may take is told as unaccounted, at a server of one's own for nothing.
    """
    path = tmp_path / "state.sqlite"
    record = Record(path)
    record.intend(batch(1), [question(1, range(3)), question(2)])
    record.close()
    record = Record(path)
    assert record.open() == [batch(1)]
    assert set(record.asked(batch(1))) == {question(1, range(3)).id, question(2).id}
    assert record.in_flight(question(1, range(2, 4)))
    assert not record.in_flight(question(1, range(3, 4)))
    assert (record.waiting(), record.enqueued_tokens(MODEL.identity)) == (2, 30)
    assert read_totals(tmp_path) == {
        "stub, batches": Totals(requests=2, usd=0.0, unaccounted=Amount(2, 500, 9))
    }
    lost = CallError("timeout", "expired", transient=True)
    bill = Totals(requests=2, usage=Usage(prompt=40, completion=2), usd=5e-9)
    record.end(batch(1), failures={question(2).id: lost}, totals=bill)
    assert record.totals()["stub, batches"].spent == Amount(2, 42, 5)
    assert (record.open(), record.waiting()) == ([], 0)
    assert record.failure(question(2).id, max_attempts=2) is None
    record.intend(batch(2), [question(2)])
    record.end(batch(2), failures={question(2).id: lost})
    failure = record.failure(question(2).id, max_attempts=2)
    assert failure is not None
    assert (failure.kind, failure.message, failure.transient) == ("timeout", "expired", True)
    record.finish("score")
    assert record.failure(question(2).id, max_attempts=2) is not None
    record.forgive()
    assert record.failure(question(2).id, max_attempts=2) is None
    record.close()


def test_a_record_that_is_no_database_is_damaged(tmp_path: Path) -> None:
    """For a reader and a writer, with its path and what deleting it means."""
    path = tmp_path / "state.sqlite"
    path.write_text("no database, but long enough to be read as one" * 9)
    for use in (lambda: Record(path), lambda: read_totals(tmp_path)):
        with pytest.raises(DamagedRunError, match=r"state\.sqlite.*damaged.*asked anew"):
            use()


def test_a_final_failure_is_not_tried_again(tmp_path: Path) -> None:
    """One attempt is enough where asking again cannot help."""
    record = Record(tmp_path / "state.sqlite")
    record.intend(batch(1), [question(1)])
    refused = CallError("bad_request", "no", transient=False)
    record.end(batch(1), failures={question(1).id: refused})
    assert record.failure(question(1).id, max_attempts=9) is not None
    record.close()


def test_a_dialect_recalls_what_another_learned() -> None:
    """Refused parameters, limits and capabilities; the settings of now still bound `n`."""
    old = Dialect(MODEL)
    body = {**BODY, "temperature": 0.0, "n": 8, "max_tokens": 1}
    assert old.learn_from_refusal(body, param="temperature", message="no")
    assert old.learn_from_refusal(body, param=None, message="'n' must be <= 4")
    new = Dialect(MODEL.model_copy(update={"max_samples_per_request": 2}))
    new.recall(old.learned())
    assert new.learned() == {**old.learned(), "max_samples": 2}
    request = ChatRequest((Message(Role.USER, "Hi"),), 1, 0.0, samples=range(8))
    assert "temperature" not in new.body(request)
    assert len(new.fit(request).samples) == 2
