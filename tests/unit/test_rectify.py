"""Rectify: which rows get a candidate, and when it becomes the target."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from clear_pipeline.errors import CallError, TooManyFailuresError
from clear_pipeline.llm.base import ChatRequest, Choice, Token
from clear_pipeline.llm.scripted import Reply
from clear_pipeline.schema import Message
from clear_pipeline.stages.base import Stage
from clear_pipeline.stages.rectify import Rectify
from rectify_rows import letters, row, run


def test_is_a_stage() -> None:
    """The pipeline recognises it."""
    assert isinstance(Rectify(), Stage)


def test_what_a_run_counted_is_no_setting() -> None:
    """Equal settings are equal stages, also after one of them has met failures."""
    used = Rectify()
    run(used, [row(1)], candidate=outage)
    assert used == Rectify()
    assert "tally" not in used.model_dump_json()


def test_candidate_above_eta_becomes_the_target() -> None:
    """The new target has the role, name and weight of the old one; figures and reason are kept."""
    [got], writer, _ = run(letters(eta=0.9), [row(1)])
    assert got["rectified"] is True
    assert got["new_target"] == {
        "role": "assistant",
        "content": "four",
        "name": "bot",
        "tool_calls": None,
        "tool_call_id": None,
        "weight": 1.0,
    }
    assert got["preference"] == pytest.approx(0.95)
    assert got["rectify_reason"] == "candidate preferred 0.95 > 0.9"
    assert got["rectify_outcome"] == "replaced"
    assert got["response_diff"] == "--- original\n+++ new\n@@ -1 +1 @@\n-five\n+four"
    [request] = writer.requests
    assert request.messages == row(1).messages
    assert (request.tools, request.temperature) == (row(1).tools, 0.0)
    assert request.max_output_tokens == 512


def test_candidate_at_eta_leaves_the_row_filtered() -> None:
    """The preference must be above eta; the candidate stays on record."""
    [got], _, _ = run(letters(eta=0.96), [row(1)])
    assert (got["rectified"], got["new_target"], got["candidate"]) == (False, None, "four")
    assert got["verdict"] == "candidate"
    assert got["rectify_reason"] == "candidate not preferred: 0.95 <= 0.96"
    assert (got["rectify_outcome"], got["response_diff"]) == ("not_preferred", None)


def test_orders_that_disagree_replace_nothing() -> None:
    """A judge that takes whatever stands first has not preferred the candidate."""
    top = (("A", math.log(0.9)), ("B", math.log(0.1)))
    [got], _, _ = run(
        letters(eta=0.4), [row(1)], judge=lambda *_: Choice("A", "length", (Token(*top[0], top),))
    )
    assert (got["rectified"], got["verdict"]) == (False, "tie")
    assert got["rectify_reason"] == "the orders disagree: candidate preferred 0.10 and 0.90"


def test_the_reason_is_what_both_orders_say_where_they_agree() -> None:
    """By the odds the candidate is far ahead, but the judge calls neither response right."""

    def judge(request: ChatRequest, _: int) -> Choice:
        text = request.messages[0].text
        candidate = "A" if text.index("\nfour\n") < text.index("\nfive\n") else "B"
        right = 0.4 if f"Is response {candidate} the right" in text else 0.01
        top = (("Yes", math.log(right)), ("No", math.log(1 - right)))
        return Choice("No", "length", (Token(*top[0], top),))

    [got], _, _ = run(Rectify(), [row(1)], judge=judge)
    assert (got["rectified"], got["verdict"]) == (False, "tie")
    assert got["rectify_reason"] == (
        "the candidate is not called right (0.40): candidate preferred 0.99 and 0.99"
    )


def test_scope_low_leaves_kept_and_dead_rows_alone() -> None:
    """Only what the filter would drop costs a call."""
    rows, writer, judge = run(
        letters(),
        [row(1), row(2), row(3)],
        keep=[True, False, False],
        alive=[True, True, False],
    )
    assert [r["rectified"] for r in rows] == [None, True, None]
    assert rows[0] == dict.fromkeys(rows[0])
    assert (len(writer.requests), len(judge.requests)) == (1, 2)


def test_scope_all_takes_kept_rows_too() -> None:
    """As in the paper, a confident candidate may replace the target of a confident row."""
    rows, _, _ = run(
        letters(scope="all"), [row(1), row(2)], keep=[True, False], alive=[True, False]
    )
    assert [r["rectified"] for r in rows] == [True, None]


def test_equal_candidate_is_not_judged() -> None:
    """A candidate that says the same confirms the original: nothing to replace, no call."""
    [got], _, judge = run(letters(), [row(1)], candidate="  Five. ")
    assert got["rectify_reason"] == "candidate equals the original"
    assert (got["rectify_outcome"], got["candidate"]) == ("confirmed", "Five.")
    assert (got["rectified"], judge.requests) == (False, [])


@pytest.mark.parametrize(
    ("original", "candidate"),
    [
        ("2 + 3 = 5\nA: 5", "Three more than two is five.\nA: 5.0"),
        ('{"answer": "five"}', '{"answer":"Five"}'),
    ],
)
def test_the_same_final_answer_confirms(original: str, candidate: str) -> None:
    """Another way to the same answer replaces nothing and pays no judge."""
    rows, _, judge = run(letters(), [row(1, answer=original)], candidate=candidate)
    assert (rows[0]["rectify_outcome"], judge.requests) == ("confirmed", [])


def test_the_same_tool_call_confirms_whatever_its_id() -> None:
    """Ids of calls and the order of arguments say nothing."""
    call = '[{"function":{"arguments":"{\\"a\\":1,\\"b\\":2}","name":"look"},"id":"1"}]'
    other = '[{"function":{"arguments":"{\\"b\\":2,\\"a\\":1}","name":"look"},"id":"9"}]'
    old = replace(row(1), target=Message("assistant", None, tool_calls=call))
    rows, _, judge = run(letters(), [old], candidate=Choice("", "tool_calls", tool_calls=other))
    assert (rows[0]["rectify_outcome"], judge.requests) == ("confirmed", [])


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (Choice("four and", "length"), "it was cut at the token limit"),
        ("  ", "it is empty"),
        ("I'm sorry, but I can't help with that.", "the model declined to answer"),
        ("I\u2019m unable to answer.", "the model declined to answer"),
        (Choice("", "content_filter"), "the model declined to answer"),
        ("four \ud83d", "it holds half of a character"),
    ],
)
def test_unfit_candidates_are_refused_unjudged(reply: Reply, why: str) -> None:
    """No cut, empty or declining text ever becomes a target."""
    [got], _, judge = run(letters(), [row(1)], candidate=reply)
    assert got["rectify_reason"] == f"candidate refused: {why}"
    assert (got["candidate"], got["rectified"], judge.requests) == (None, False, [])


def test_answer_that_only_starts_like_a_refusal_is_fit() -> None:
    """A text about being unable is an answer."""
    [got], _, _ = run(
        letters(), [row(1)], candidate="I can't wait, four", judge=lambda *_: Choice("B", "stop")
    )
    assert got["candidate"] == "I can't wait, four"


@pytest.mark.parametrize(
    ("original", "expected"),
    [
        ('{"answer": "five", "why": ""}', '{"answer": "four", "why": "é"}'),
        ('{"answer":"five","why":""}', '{"answer":"four","why":"é"}'),
        ('{ "answer": "five", "why": "" }', '{\n  "answer": "four",\n  "why": "é"\n}'),
    ],
)
def test_json_candidate_has_the_spaces_of_the_original(original: str, expected: str) -> None:
    """Only where the original's own layout is known; else it stays as it was written."""
    [got], _, _ = run(
        letters(),
        [row(1, answer=original)],
        candidate='{\n  "answer": "four",\n  "why": "é"\n}',
        judge=lambda *_: Choice("C", "stop"),
    )
    assert got["candidate"] == expected


@pytest.mark.parametrize("reply", ['{"answer": "four"}', '```json\n{"answer": "four"}\n```'])
def test_json_target_is_replaced_by_bare_json_only(reply: str) -> None:
    """A code block around the JSON would teach the wrong form, so it is taken off."""
    original = row(1, answer='{"answer": "five"}')
    [got], _, _ = run(letters(), [original], candidate=reply, judge=lambda *_: Choice("C", "stop"))
    assert json.loads(got["candidate"]) == {"answer": "four"}


def test_json_is_asked_for_where_the_row_has_it() -> None:
    """A model that was not tuned on such rows would reason first; without tools it need not."""
    plain = replace(row(1, answer='{"answer": "five"}'), tools=None)
    _, writer, _ = run(letters(), [plain, replace(row(2), tools=None)])
    formats = {r.messages[-1].content: r.response_format for r in writer.requests}
    assert formats == {"question 1": '{"type":"json_object"}', "question 2": None}


def test_prose_for_a_json_target_is_refused() -> None:
    """A row that teaches JSON goes on teaching JSON."""
    [got], _, _ = run(letters(), [row(1, answer='{"answer": "five"}')], candidate="four")
    assert got["rectify_reason"] == (
        "candidate refused: it is no JSON, as the original is "
        "(broken JSON: Expecting value at character 1)"
    )
    assert got["rectify_outcome"] == "refused"


def test_tool_call_may_be_a_candidate() -> None:
    """A turn without text that calls a tool is a target like any other."""
    calls = '[{"function":{"arguments":"{}","name":"look"},"id":"1","type":"function"}]'
    [got], _, _ = run(
        letters(),
        [row(1)],
        candidate=Choice("", "tool_calls", tool_calls=calls),
        judge=lambda request, _: Choice(
            "A"
            if request.messages[0].text.index(calls) < request.messages[0].text.index("\nfive")
            else "B",
            "stop",
        ),
    )
    assert (got["new_target"]["content"], got["new_target"]["tool_calls"]) == (None, calls)


def test_what_a_row_asked_of_either_model_is_on_record() -> None:
    """One word of each answer: one candidate, a verdict in either order; nothing where unasked."""
    rows, _, _ = run(letters(), [row(1), row(2)], keep=[False, True])
    writer, judge = rows[0]["candidate_usage"], rows[0]["judge_usage"]
    assert (writer["calls"], writer["cached"], writer["completion"]) == (1, 0, 1)
    assert (judge["calls"], judge["cached"], judge["completion"]) == (2, 0, 2)
    assert (rows[1]["candidate_usage"], rows[1]["judge_usage"]) == (None, None)


def outage(*_: object) -> Reply:
    raise CallError("outage", "no answer", transient=True)


def test_failed_candidate_is_a_reason_not_a_crash() -> None:
    """The row keeps the filter's fate."""
    [got], _, _ = run(letters(), [row(1)], candidate=outage)
    assert got["rectify_reason"] == "candidate failed: outage: no answer"
    assert (got["rectified"], got["preference"]) == (False, None)
    nothing = {"prompt": 0, "cached": 0, "completion": 0}
    assert (got["candidate_usage"], got["judge_usage"]) == ({"calls": 1, **nothing}, None)


def test_failed_judge_keeps_the_candidate_on_record() -> None:
    """What was written is not lost, and not used."""
    [got], _, _ = run(letters(), [row(1)], judge=outage)
    assert got["rectify_reason"] == "judge failed: outage: no answer"
    assert (got["candidate"], got["rectified"]) == ("four", False)


def test_too_many_failures_stop_the_stage() -> None:
    """Five failed rows of five are an outage of the whole, not five bad rows."""
    with pytest.raises(TooManyFailuresError, match="rectify: 5 of"):
        run(letters(), [row(i) for i in range(9)], candidate=outage)


def test_sampled_form_is_asked_as_configured() -> None:
    """k, temperature and room of the verdicts arrive at the judge."""
    stage = Rectify(form="sampled", k=3, verdict_temperature=0.5, max_verdict_tokens=99)
    [got], _, judge = run(stage, [row(1)], judge=lambda *_: "VERDICT: tie")
    assert (got["preference"], got["verdict"]) == (0.0, "tie")
    [first, second] = judge.requests
    assert (first.samples, first.temperature, first.max_output_tokens) == (range(3), 0.5, 99)
    assert second.samples == range(3)
