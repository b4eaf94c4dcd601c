"""JSON objects are asked for where an endpoint takes that, and in words elsewhere."""

from __future__ import annotations

from dataclasses import replace

import pytest

from clear_pipeline.llm.base import ChatRequest
from clear_pipeline.llm.dialect import Dialect
from clear_pipeline.llm.settings import ModelSettings
from clear_pipeline.schema import Message

SERVER = ModelSettings(model="m", base_url="http://h/v1")
OBJECT = '{"type":"json_object"}'
ASK = ChatRequest((Message("user", "as JSON, please"),), 9, 0.0, response_format=OBJECT)
UNNAMED = replace(ASK, messages=(Message("user", "which day?"),))
NOT_NAMED = (
    "'messages' must contain the word 'json' in some form, to use 'response_format' of type "
    "'json_object'."
)


@pytest.mark.parametrize("param", [None, "response_format"])
def test_an_endpoint_that_has_none(param: str | None) -> None:
    """It is asked without, from then on; refusals of questions that were in flight come to that."""
    dialect = Dialect(SERVER)
    body = dialect.body(ASK)
    assert body["response_format"] == {"type": "json_object"}
    for _ in range(2):
        message = "response_format is not supported"
        assert dialect.learn_from_refusal(body, param=param, message=message)
    assert "response_format" not in dialect.body(ASK)
    assert dialect.body(ASK)["messages"] == body["messages"]


def test_prompts_that_do_not_name_json() -> None:
    """Where it has to be named, these alone are asked without; OpenAI is known to be like that."""
    dialect = Dialect(SERVER)
    body = dialect.body(UNNAMED)
    assert "response_format" in body
    assert dialect.learn_from_refusal(body, param="messages", message=NOT_NAMED)
    again = Dialect(SERVER)
    again.recall(dialect.learned())
    for knows in (dialect, again, Dialect(ModelSettings(model="gpt-4.1-mini"))):
        assert "response_format" not in knows.body(UNNAMED)
        assert "response_format" in knows.body(ASK)


def test_a_schema_is_a_question_of_its_own() -> None:
    """Without it the question would be another one: it is never left out."""
    dialect = Dialect(ModelSettings(model="gpt-4.1-mini"))
    shaped = replace(UNNAMED, response_format='{"type":"json_schema"}')
    body = dialect.body(shaped)
    refused = "response_format is not supported"
    assert not dialect.learn_from_refusal(body, param="response_format", message=refused)
    assert dialect.body(shaped) == body
    assert dialect.capabilities.schema is False
