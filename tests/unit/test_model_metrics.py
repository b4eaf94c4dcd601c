"""Metrics of answers: hand-computed exact match, token F1 and figures of JSON."""

from __future__ import annotations

import pytest

from clear_pipeline.evaluate.models.metrics import measure, missing
from clear_pipeline.schema import Example, Message

NO_JSON = {"json_valid": None, "json_keys": None, "json_fields": None}


def row(reference: str, *, calls: str | None = None) -> Example:
    return Example(
        id="t.jsonl:1",
        file="t.jsonl",
        line=1,
        format="prompt-completion",
        messages=(Message("user", "?"),),
        target=Message("assistant", reference or None, tool_calls=calls),
        original="{}",
    )


@pytest.mark.parametrize(
    ("reference", "answer", "exact", "f1"),
    [
        ("The Cat!", "cat", 1, 1),
        # cat, sat, on, mat against cat, sat: precision 1, recall 2 / 4.
        ("the cat sat on the mat", "a cat sat", 0, 2 / 3),
        # red and blue once each of three: precision and recall 2 / 3.
        ("red red blue", "red blue blue", 0, 2 / 3),
        ("Denver Broncos", "Carolina Panthers", 0, 0),
        ("1,560", "1560.0", 1, 1),
        ("Paris", "", 0, 0),
    ],
)
def test_exact_match_and_token_f1_by_hand(
    reference: str, answer: str, exact: float, f1: float
) -> None:
    """SQuAD's two metrics: articles, case and punctuation do not count, and numbers are values."""
    found = measure(row(reference), answer)
    assert found == {"exact_match": exact, "token_f1": pytest.approx(f1), **NO_JSON}


def test_the_final_answer_decides_exact_match() -> None:
    """Reasoning before the answer costs no exact match; token F1 sees all words: P 1/5, R 1."""
    found = measure(row("18"), "Nine and nine.\nAnswer: 18")
    assert found["exact_match"] == 1
    assert found["token_f1"] == pytest.approx(2 * (1 / 5) / (1 + 1 / 5))


OBJECT = '{"theme": "meeting", "reply": "Yes"}'


@pytest.mark.parametrize(
    ("answer", "exact", "valid", "keys", "fields"),
    [
        ('{"reply":"yes.","theme":"Meeting"}', 1, 1, 1, 1),
        ('{"theme": "lunch", "reply": "Yes"}', 0, 1, 1, 1 / 2),
        ('{"theme": "meeting", "reply": "Yes", "more": 1}', 0, 1, 0, 1),
        ('{"theme": "meeting"}', 0, 1, 0, 1 / 2),
        ('```json\n{"theme": "meeting", "reply": "Yes"}\n```', 1, 0, 1, 1),
        ('{"theme": "meeting", "reply": ', 0, 0, 0, 0),
        ("[1]", 0, 1, 0, 0),
        ("meeting, yes", 0, 0, 0, 0),
    ],
)
def test_json_by_hand(answer: str, exact: float, valid: float, keys: float, fields: float) -> None:
    """Form, keys and fields are told apart; a code block is no JSON but its fields are read."""
    found = measure(row(OBJECT), answer)
    assert found["exact_match"] == exact
    assert (found["json_valid"], found["json_keys"]) == (valid, keys)
    assert found["json_fields"] == pytest.approx(fields)


def test_a_list_has_no_keys() -> None:
    """Where the reference is a list, only the form is asked about."""
    found = measure(row("[1, 2]"), "[2, 1]")
    assert (found["exact_match"], found["json_valid"]) == (0, 1)
    assert found["json_keys"] is None
    assert found["json_fields"] is None


def test_a_code_block_is_right_where_the_reference_has_one() -> None:
    """The form that was taught is the right one."""
    assert measure(row('```json\n{"a": 1}\n```'), '```json\n{"a": 1}\n```')["json_valid"] == 1


def test_tool_calls_are_compared_by_what_they_call() -> None:
    """The same call written otherwise is right; words in its place are wrong."""
    call = '[{"type":"function","function":{"name":"add","arguments":"{\\"a\\":1,\\"b\\":2}"}}]'
    asked = row("", calls=call)
    same = measure(asked, '{"name": "add", "arguments": {"b": 2, "a": 1}}')
    assert same == {"exact_match": 1, "token_f1": 1, **NO_JSON}
    # Facts: the name and two arguments, one of which differs: 2 of 3 on both sides.
    other = measure(asked, '{"name": "add", "arguments": {"a": 1, "b": 3}}')
    assert other["exact_match"] == 0
    assert other["token_f1"] == pytest.approx(2 / 3)
    assert measure(asked, "three")["exact_match"] == 0


def test_a_row_without_an_answer_counts_0_where_it_counts() -> None:
    """A metric that says nothing about the row says nothing about its missing answer either."""
    assert missing(row("Paris")) == {"exact_match": 0, "token_f1": 0, **NO_JSON}
    assert set(missing(row(OBJECT)).values()) == {0.0}
