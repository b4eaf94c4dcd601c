"""What a model in torch takes for a question, and what its chat template is handed."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from clear_pipeline.llm.torch_question import Question, for_template

CALL = {"id": "1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
TURNS = [{"role": "user", "content": "?"}]


def test_arguments_are_objects_for_a_template() -> None:
    """JSON of an object becomes one; other text stays; a turn without content has none."""
    made = for_template({"role": "assistant", "content": None, "tool_calls": [CALL]})
    assert made["content"] == ""
    assert made["tool_calls"][0]["function"] == {"name": "add", "arguments": {"a": 1}}
    for text in ("[1]", "{"):
        odd = {**CALL, "function": {"name": "add", "arguments": text}}
        assert for_template({"role": "assistant", "tool_calls": [odd]})["tool_calls"] == [odd]


def test_parts_are_text_for_a_template() -> None:
    """Their texts follow each other."""
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert for_template({"role": "user", "content": parts})["content"] == "ab"


def test_a_question() -> None:
    """Either name of the limit is understood, one stop is a list of one, and 0 is a value."""
    body = {"messages": TURNS, "max_completion_tokens": 3, "stop": "x", "temperature": 0}
    question = Question.model_validate(body)
    assert (question.max_tokens, question.stop, question.temperature) == (3, ("x",), 0.0)
    assert Question.model_validate({"messages": TURNS, "max_tokens": 4}).max_tokens == 4
    assert Question.model_validate({"messages": TURNS, "stop": None}).stop == ()


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_tokens": 0},
        {"temperature": -1},
        {"temperature": float("nan")},
        {"temperature": 1e-9},
        {"seed": 2**64},
        {"n": 0},
        {"n": 9},
        {"grammar": "root ::= x"},
        {"response_format": {"type": "json_object"}},
        {"messages": []},
    ],
)
def test_what_is_refused(wrong: dict[str, object]) -> None:
    """What cannot be done is no question; nothing is passed over in silence."""
    with pytest.raises(ValidationError):
        Question.model_validate({"messages": TURNS, **wrong})
