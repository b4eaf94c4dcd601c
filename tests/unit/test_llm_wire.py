"""Request bodies and replies as JSON, and what is learned of an endpoint."""

import json
from typing import Any

import pytest

from clear_pipeline.errors import CallError
from clear_pipeline.llm.base import OMIT, ChatRequest, Token, Usage
from clear_pipeline.llm.dialect import REASONING_BUDGET, Dialect
from clear_pipeline.llm.settings import ModelSettings
from clear_pipeline.llm.wire import parse_completion, parse_usage, request_body
from clear_pipeline.prompts.forced import length_request, parse_scored
from clear_pipeline.schema import Message

ASK = ChatRequest((Message("user", "q"),), 1, 0.0)
SERVER = ModelSettings(model="m", base_url="http://h/v1")


def test_zero_is_sent_and_omit_is_not() -> None:
    """0.0 is a temperature and 0 a seed; OMIT leaves the parameter out."""
    zero = request_body(ChatRequest(ASK.messages, 1, 0.0, seed=0), "m")
    assert zero["temperature"] == 0.0
    assert zero["seed"] == 0
    assert request_body(ChatRequest(ASK.messages, 1, OMIT), "m") == {
        "model": "m",
        "messages": [{"role": "user", "content": "q"}],
    }


def test_draws_are_asked_with_their_own_seed() -> None:
    """Samples 3..7 go out as n = 5 with seed + 3."""
    body = request_body(ChatRequest(ASK.messages, 1, 1.0, samples=range(3, 8), seed=10), "m")
    assert (body["n"], body["seed"]) == (5, 13)


def test_messages_keep_tool_calls_and_drop_training_weights() -> None:
    """Tool turns reach the server as JSON; a row's loss weight does not."""
    calls = [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    turns = (
        Message("assistant", None, tool_calls=json.dumps(calls), weight=0.0),
        Message("tool", "7", name="f", tool_call_id="c"),
    )
    tools = '[{"type":"function"}]'
    body = request_body(ChatRequest(turns, 1, OMIT, tools=tools, stop=("x",)), "m")
    assert body["messages"] == [
        {"role": "assistant", "content": None, "tool_calls": calls},
        {"role": "tool", "content": "7", "name": "f", "tool_call_id": "c"},
    ]
    assert (body["tools"], body["stop"]) == (json.loads(tools), ["x"])


def reply(**choice: Any) -> dict[str, Any]:  # noqa: ANN401
    return {"choices": [{"message": {"content": "Yes"}, "finish_reason": "stop", **choice}]}


def logprobs(*values: float | None) -> dict[str, Any]:
    top = [{"token": "b", "logprob": -2.0}, {"token": "a", "logprob": -1.0}, {"token": "c"}]
    return {"content": [{"token": "t", "logprob": v, "top_logprobs": top} for v in values]}


def test_log_probabilities_come_sorted_and_cut_to_what_was_asked() -> None:
    """Alternatives are most likely first; one without a number is left out."""
    asked = ChatRequest(ASK.messages, 1, 0.0, top_logprobs=5)
    (token,) = (
        parse_completion(reply(logprobs=logprobs(1e-7)), asked, Usage()).choices[0].tokens or ()
    )
    assert (token.logprob, token.top) == (0.0, (("a", -1.0), ("b", -2.0)))
    alone = ChatRequest(ASK.messages, 1, 0.0, top_logprobs=0)
    assert request_body(alone, "m")["top_logprobs"] == 1
    (token,) = (
        parse_completion(reply(logprobs=logprobs(-1.0)), alone, Usage()).choices[0].tokens or ()
    )
    assert token.top == ()


@pytest.mark.parametrize("value", [None, float("-inf")])
def test_a_token_without_a_finite_probability_spoils_them_all(value: float | None) -> None:
    """Half a sum of log-probabilities would be taken for a whole one."""
    asked = ChatRequest(ASK.messages, 1, 0.0, top_logprobs=1)
    got = parse_completion(reply(logprobs=logprobs(-1.0, value)), asked, Usage())
    assert got.choices[0].tokens == ()
    assert got.text == "Yes"


@pytest.mark.parametrize("place", ["chosen", "listed"])
def test_nan_is_a_garbled_reply(place: str) -> None:
    """Of the token itself or of an alternative: asked again, not read as if it were not there."""
    nan = float("nan")
    entry = {"token": "Yes", "logprob": -1.0, "top_logprobs": [{"token": "No", "logprob": -1.0}]}
    broken = entry | ({"logprob": nan} if place == "chosen" else {})
    if place == "listed":
        broken = entry | {"top_logprobs": [{"token": "No", "logprob": nan}]}
    asked = ChatRequest(ASK.messages, 1, 0.0, top_logprobs=1)
    with pytest.raises(CallError, match="NaN") as failure:
        parse_completion(reply(logprobs={"content": [broken]}), asked, Usage())
    assert (failure.value.kind, failure.value.transient) == ("garbled", True)


def test_a_choice_that_comes_twice_counts_once() -> None:
    """By its index; where the server gives none, or 0 for all, equal samples are samples."""

    def said(index: int | None, text: str) -> dict[str, Any]:
        return {"index": index, "message": {"content": text}}

    asked = ASK.with_samples(range(3))
    twice = {"choices": [said(1, "b"), said(0, "a"), said(0, "a")]}
    got = parse_completion(twice, asked, Usage())
    assert [choice.text for choice in got.choices] == ["a", "b"]
    for index in (None, 0):
        same = {"choices": [said(index, "a"), said(index, "b"), said(index, "a")]}
        got = parse_completion(same, asked, Usage())
        assert [choice.text for choice in got.choices] == ["a", "b", "a"]


@pytest.mark.parametrize(
    "body",
    [{}, {"choices": []}, {"choices": None}, {"choices": [{}]}, {"choices": [None]},
     reply(message={"content": [1]})],
)  # fmt: skip
def test_a_reply_without_a_choice_is_a_garbled_one(body: dict[str, Any]) -> None:
    """Empty and malformed choices fail the call and may be asked again."""
    with pytest.raises(CallError) as failure:
        parse_completion(body, ASK, Usage())
    assert (failure.value.kind, failure.value.transient) == ("garbled", True)


def test_tool_calls_and_reasoning_are_carried() -> None:
    """What a model says instead of text is kept."""
    message = {"content": None, "tool_calls": [{"b": 1, "a": 2}], "reasoning_content": "hm"}
    choice = parse_completion(reply(message=message), ASK, Usage()).choices[0]
    assert (choice.text, choice.tool_calls, choice.reasoning) == ("", '[{"a":2,"b":1}]', "hm")


@pytest.mark.parametrize(
    "message",
    [
        {"content": None, "refusal": "I can't help."},
        {"refusal": "I can't help."},
        {"content": "Sure: ", "refusal": "I can't help."},
        {"content": [{"type": "refusal", "refusal": "I can't help."}]},
        {"content": [{"type": "text", "text": "Sure: "}, {"refusal": "I can't help."}]},
    ],
)
def test_a_refusal_is_withheld_however_it_finished(message: dict[str, Any]) -> None:
    """Its words are kept; they are no answer, though the server says `stop`."""
    (choice,) = parse_completion(reply(message=message), ASK, Usage()).choices
    assert (choice.text, choice.finish_reason) == ("I can't help.", "content_filter")
    assert choice.withheld


@pytest.mark.parametrize("nothing", [None, "", {}])
def test_an_empty_refusal_is_none(nothing: object) -> None:
    """Servers list the member of every message."""
    message = {"content": "Yes", "refusal": nothing}
    (choice,) = parse_completion(reply(message=message), ASK, Usage()).choices
    assert (choice.text, choice.finish_reason) == ("Yes", "stop")


def test_usage_of_llama_cpp_counts_every_choice() -> None:
    """Its completion_tokens are one choice's; missing counts are zero."""
    usage = {
        "prompt_tokens": 9,
        "completion_tokens": 4,
        "prompt_tokens_details": {"cached_tokens": 8},
    }
    body = {"choices": [{}, {}, {}], "usage": usage}
    assert parse_usage(body, per_choice=True) == Usage(prompt=9, cached=8, completion=12)
    assert parse_usage(body, per_choice=False) == Usage(prompt=9, cached=8, completion=4)
    assert parse_usage({}, per_choice=True) == Usage()


@pytest.mark.parametrize("count", [10**30, 2**40 + 1, -1, True, 4.0, "4", [4]])
@pytest.mark.parametrize("place", ["prompt_tokens", "completion_tokens", "cached_tokens"])
def test_a_count_that_cannot_be_is_no_count(place: str, count: object) -> None:
    """Nothing of such a usage is believed, so that the request counts at its bound."""
    usage: dict[str, object] = {"prompt_tokens": 9, "completion_tokens": 4}
    if place == "cached_tokens":
        usage["prompt_tokens_details"] = {place: count}
    else:
        usage[place] = count
    assert parse_usage({"choices": [{}], "usage": usage}, per_choice=True) == Usage()


@pytest.mark.parametrize(
    "details", [{"cached_tokens": 10}, {"cached_tokens": 5, "cache_write_tokens": 5}]
)
def test_parts_of_a_prompt_are_no_more_than_it(details: dict[str, int]) -> None:
    """Else a bill could be below 0, and make room under a cap."""
    usage = {"prompt_tokens": 9, "completion_tokens": 4, "prompt_tokens_details": details}
    assert parse_usage({"choices": [{}], "usage": usage}, per_choice=False) == Usage()
    usage["prompt_tokens"] = 10
    assert parse_usage({"choices": [{}], "usage": usage}, per_choice=False).prompt == 10


def test_choices_that_are_no_list_multiply_nothing() -> None:
    """The usage stands as it is; that there is no choice is found where choices are read."""
    usage = {"prompt_tokens": 9, "completion_tokens": 4}
    assert parse_usage({"choices": 5, "usage": usage}, per_choice=True) == Usage(9, 0, 4)


def test_the_token_limit_has_two_names() -> None:
    """`max_completion_tokens` at OpenAI, `max_tokens` elsewhere, swapped where refused."""
    assert Dialect(ModelSettings(model="gpt-4o")).body(ASK)["max_completion_tokens"] == 1
    dialect = Dialect(SERVER)
    body = dialect.body(ASK)
    assert body["max_tokens"] == 1
    said = "'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
    assert dialect.learn_from_refusal(body, param="max_tokens", message=said)
    swapped = dialect.body(ASK)
    assert swapped["max_completion_tokens"] == 1
    assert "max_tokens" not in swapped


@pytest.mark.parametrize(
    ("message", "limit"),
    [("Field 'n': Value must be between 1 <= value <= 4, but got 9", 4), ("bad 'n'", 4)],
)
def test_n_is_cut_to_the_servers_limit(message: str, limit: int) -> None:
    """The limit is read from the refusal, else n is halved."""
    dialect = Dialect(SERVER)
    asked = ChatRequest(ASK.messages, 1, 1.0, samples=range(9))
    assert dialect.learn_from_refusal(dialect.body(asked), param=None, message=message)
    assert dialect.fit(asked).samples == range(limit)


def test_top_logprobs_shrinks_to_the_limit_or_goes() -> None:
    """A server names its maximum; a server without any loses the parameter and the capability."""
    dialect = Dialect(SERVER)
    asked = ChatRequest(ASK.messages, 1, 0.0, top_logprobs=20)
    said = "Requested sample logprobs of 20, which is greater than max allowed: 5"
    assert dialect.learn_from_refusal(dialect.body(asked), param=None, message=said)
    assert dialect.body(asked)["top_logprobs"] == 5
    assert dialect.learn_from_refusal(dialect.body(asked), param="logprobs", message="no")
    assert not {"logprobs", "top_logprobs"} & dialect.body(asked).keys()
    assert dialect.capabilities.logprobs is False


@pytest.mark.parametrize(
    ("message", "limit"),
    [
        ("logprobs is not supported with model o3-2025-04-16", None),
        ("logprobs are unsupported for gpt-4-0613", None),
        ("no maximum of logprobs for model o3", None),
        ("top_logprobs must be less than or equal to 5", 5),
        ("top_logprobs: must be less than 6", 5),
        ("top_logprobs: expected a value <= 5, but got 20", 5),
        ("Maximum of top_logprobs for this model is 5, not 20", 5),
        ("'top_logprobs' should be between 0 and 5", 5),
        ("At most 5 logprobs, model llama-3", 5),
    ],
)
def test_only_a_number_that_is_called_a_limit_is_one(message: str, limit: int | None) -> None:
    """A version in a model's name would be tried, number by number."""
    dialect = Dialect(SERVER)
    asked = ChatRequest(ASK.messages, 1, 0.0, top_logprobs=20)
    assert dialect.learn_from_refusal(dialect.body(asked), param="logprobs", message=message)
    assert dialect.body(asked).get("top_logprobs") == limit
    assert dialect.capabilities.logprobs is (False if limit is None else None)


def test_a_prompt_that_is_only_counted_gets_no_room_to_think() -> None:
    """Its reply means nothing, so it teaches nothing and is not asked for again."""
    dialect = Dialect(SERVER)
    message = {"content": None, "reasoning_content": "let me see"}
    cut = parse_completion(reply(message=message, finish_reason="length"), ASK, Usage())
    counted = length_request(ASK.messages)
    assert not dialect.learn_from_reply(counted, dialect.body(counted), cut, thought=1)
    assert dialect.body(ASK)["max_tokens"] == 1, "nothing was learned of it"
    assert dialect.learn_from_reply(ASK, dialect.body(ASK), cut, thought=1)
    assert dialect.body(ASK)["max_tokens"] == REASONING_BUDGET
    assert dialect.body(counted)["max_tokens"] == 1


@pytest.mark.parametrize(
    ("content", "text", "thought"),
    [
        ([{"type": "text", "text": "Ye"}, {"type": "text", "text": "s"}], "Yes", None),
        (
            [
                {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
                {"type": "text", "text": "Yes"},
            ],
            "Yes",
            "hm",
        ),
        ([{"type": "thinking", "thinking": "hm"}], "", "hm"),
        ([{"type": "reference"}, {"type": "text", "text": "Yes"}], "Yes", None),
    ],
)
def test_a_message_in_parts_is_joined(content: list[Any], text: str, thought: str | None) -> None:
    """It was answered and billed; asked again, it would come in parts again."""
    got = parse_completion(reply(message={"content": content}), ASK, Usage()).choices[0]
    assert (got.text, got.reasoning) == (text, thought)


def test_a_refusal_of_what_the_question_is_about_is_final() -> None:
    """Messages, tools and formats are never dropped to please a server."""
    dialect = Dialect(SERVER)
    asked = ChatRequest(ASK.messages, 1, 0.0, tools="[]", response_format="{}")
    body = dialect.body(asked)
    for param in ("messages", "tools", "response_format", "model", None):
        assert not dialect.learn_from_refusal(body, param=param, message="invalid")
    assert dialect.body(asked) == body


def test_openai_reasoning_models_get_effort_none_then_room_to_think() -> None:
    """If `none` is refused, the answer gets at least 1,024 tokens."""
    dialect = Dialect(ModelSettings(model="o3-mini"))
    body = dialect.body(ASK)
    assert (body["reasoning_effort"], body["max_completion_tokens"]) == ("none", 1)
    assert dialect.learn_from_refusal(body, param="reasoning_effort", message="no 'none'")
    assert dialect.body(ASK)["max_completion_tokens"] == REASONING_BUDGET
    assert "reasoning_effort" not in dialect.body(ASK)


@pytest.mark.parametrize(
    ("message", "effort"),
    [
        ("'none' is not supported. Supported values are: 'minimal', 'low' and 'high'.", "minimal"),
        ("'none' is not supported. Supported values are: 'low', 'medium', and 'high'.", "low"),
        ("'none' is not supported. Supported values are: 'medium'.", None),
    ],
)
def test_the_least_effort_that_a_model_takes_is_found_at_once(
    message: str, effort: str | None
) -> None:
    """From the refusal's own list, also where several requests were refused together."""
    dialect = Dialect(ModelSettings(model="gpt-5-mini"))
    body = dialect.body(ASK)
    for _ in range(3):
        assert dialect.learn_from_refusal(body, param="reasoning_effort", message=message)
    assert dialect.body(ASK).get("reasoning_effort") == effort
    assert dialect.body(ASK)["max_completion_tokens"] == REASONING_BUDGET


def test_a_prompt_that_is_too_long_changes_no_parameter() -> None:
    """The refusal names both token limits, but neither is to blame."""
    dialect = Dialect(SERVER)
    body = dialect.body(ASK)
    said = (
        "'max_tokens' or 'max_completion_tokens' is too large: 1. This model's maximum context "
        "length is 9 tokens and your request has 10 input tokens"
    )
    assert not dialect.learn_from_refusal(body, param=None, message=said)
    assert dialect.body(ASK) == body


@pytest.mark.parametrize(
    ("content", "text", "thought"),
    [
        ("<think>\nhm\n</think>\n\nYes", "Yes", "hm"),
        ("hm</think>Yes", "Yes", "hm"),
        ("<think>hm", "", "hm"),
        ("Yes", "Yes", None),
        ("Write <think>x</think> around it", "Write <think>x</think> around it", None),
    ],
)
def test_reasoning_between_tags_is_told_from_the_text(
    content: str, text: str, thought: str | None
) -> None:
    """Servers that do not part them leave the tags of the model in the text."""
    got = parse_completion(reply(message={"content": content}), ASK, Usage()).choices[0]
    assert (got.text, got.reasoning) == (text, thought)


def test_a_text_that_a_grammar_dictates_is_left_as_it_is() -> None:
    """It is the dataset's, tags included."""
    asked = ChatRequest(ASK.messages, 9, 0.0, grammar="g")
    content = "<think>hm</think>4"
    got = parse_completion(reply(message={"content": content}), asked, Usage()).choices[0]
    assert (got.text, got.reasoning) == (content, None)


def position(text: str, logprob: float | None) -> dict[str, Any]:
    return {"7": {"logprob": logprob, "decoded_token": text}, "8": {"logprob": -0.1}}


def test_a_scored_prompt_is_read_from_the_given_position() -> None:
    """As vLLM has it: null first, then per position the token that stands there before others."""
    asked = ChatRequest(ASK.messages, 1, 0.0, score_from=2)
    listed = [None, position("q", -9.0), position("Y", -1.0), position("es", -2.0)]
    (choice,) = parse_completion(reply() | {"prompt_logprobs": listed}, asked, Usage()).choices
    assert (choice.text, choice.tokens) == ("Yes", (Token("Y", -1.0), Token("es", -2.0)))


@pytest.mark.parametrize("listed", [None, [], [None], "no"])
def test_a_server_that_scores_no_prompts_has_answered(listed: object) -> None:
    """So the answer is kept, and not asked for in every process."""
    asked = ChatRequest(ASK.messages, 1, 0.0, score_from=2)
    (choice,) = parse_completion(reply() | {"prompt_logprobs": listed}, asked, Usage()).choices
    assert (choice.text, choice.tokens) == ("", None)
    with pytest.raises(CallError, match="bad_reply: the server scores no prompts"):
        parse_scored(choice, "Yes")


@pytest.mark.parametrize("listed", [[None, {}, {}], [None, None, position("Y", None)]])
def test_a_prompt_that_was_not_scored_is_a_final_error(listed: object) -> None:
    """Asking again would not change it."""
    asked = ChatRequest(ASK.messages, 1, 0.0, score_from=2)
    with pytest.raises(CallError) as failure:
        parse_completion(reply() | {"prompt_logprobs": listed}, asked, Usage())
    assert (failure.value.kind, failure.value.transient) == ("bad_reply", False)


SCORE = ChatRequest(ASK.messages, 1, 0.0, score_from=2)
TEMPLATE = (
    "continue_final_message is set but the final message does not appear in the chat after "
    "applying the chat template. Final message to continue: unsupported"
)


@pytest.mark.parametrize(
    ("param", "message"),
    [
        ("prompt_logprobs", "no"),
        (None, "Unrecognized request argument supplied: prompt_logprobs"),
        (None, "property 'prompt_logprobs' is unsupported"),
        (None, "Extra inputs are not permitted, field: 'add_generation_prompt', value: False"),
        (None, "Additional properties are not allowed ('prompt_logprobs' was unexpected)"),
        (None, 'Invalid JSON payload received. Unknown name "prompt_logprobs": Cannot find field.'),
        (None, "got an unexpected keyword argument 'continue_final_message'"),
        (None, "`prompt_logprobs` is not yet supported by this engine"),
    ],
)
def test_a_server_that_does_not_know_how_text_is_scored(param: str | None, message: str) -> None:
    """It says that it does not know one of the three parameters; none is left out."""
    dialect = Dialect(SERVER)
    body = dialect.body(SCORE)
    assert not dialect.learn_from_refusal(body, param=param, message=message)
    assert dialect.capabilities.prompt_logprobs is False
    assert dialect.body(SCORE) == body


def test_a_text_that_the_chat_template_changes_is_a_failed_row() -> None:
    """As vLLM's of `</think>`: it names the parameter, and says nothing about the next row."""
    dialect = Dialect(SERVER)
    assert not dialect.learn_from_refusal(dialect.body(SCORE), param=None, message=TEMPLATE)
    assert dialect.capabilities.prompt_logprobs is None


def test_a_server_that_has_scored_a_text_scores_texts() -> None:
    """Whatever it refuses or leaves out for a later row."""
    dialect = Dialect(SERVER)
    body = dialect.body(SCORE)
    for listed in ([None, None, position("Y", -1.0)], None):
        got = parse_completion(reply() | {"prompt_logprobs": listed}, SCORE, Usage())
        dialect.learn_from_reply(SCORE, body, got, thought=0)
        assert dialect.capabilities.prompt_logprobs is True
    dialect.learn_from_refusal(body, param="prompt_logprobs", message="not supported here")
    assert dialect.capabilities.prompt_logprobs is True


def test_usable_choices_are_kept_beside_broken_ones() -> None:
    """What is missing is asked for again by the cache."""
    good = {"index": 2, "message": {"content": "a"}}
    asked = ASK.with_samples(range(3))
    got = parse_completion({"choices": [{}, {"message": {"content": [1]}}, good]}, asked, Usage())
    assert [choice.text for choice in got.choices] == ["a"]


@pytest.mark.parametrize("finish", ["error", "abort", "insufficient_system_resource"])
def test_a_sample_that_the_server_gave_up_is_none(finish: str) -> None:
    """What it had written is no answer: beside others it is left out, alone it is an outage."""
    half = {"index": 0, "message": {"content": "The capital of"}, "finish_reason": finish,
            "error": {"code": 502, "message": "upstream\nis gone"}}  # fmt: skip
    whole = {"index": 1, "message": {"content": "Paris"}, "finish_reason": "stop"}
    asked = ASK.with_samples(range(2))
    got = parse_completion({"choices": [half, whole]}, asked, Usage())
    assert [choice.text for choice in got.choices] == ["Paris"]
    with pytest.raises(CallError) as failure:
        parse_completion({"choices": [half]}, ASK, Usage())
    assert str(failure.value) == f"outage: the answer broke off ({finish}): upstream is gone"
    assert failure.value.transient


def test_a_reply_cut_in_its_reasoning_is_asked_again_with_room() -> None:
    """Once: a model that thinks longer than the budget keeps its empty answer."""
    dialect = Dialect(SERVER)
    message = {"content": None, "reasoning_content": "let me see"}
    cut = parse_completion(reply(message=message, finish_reason="length"), ASK, Usage())
    small = dialect.body(ASK)
    assert dialect.learn_from_reply(ASK, small, cut, thought=0)
    roomy = dialect.body(ASK)
    assert roomy["max_tokens"] == REASONING_BUDGET
    assert not dialect.learn_from_reply(ASK, roomy, cut, thought=0)
    assert dialect.learn_from_reply(ASK, small, cut, thought=0), "it was open at the same time"


def test_a_grammar_goes_only_where_it_is_understood() -> None:
    """Other servers would refuse or ignore it."""
    asked = ChatRequest(ASK.messages, 1, 0.0, grammar='root ::= "a"')
    dialect = Dialect(SERVER)
    assert "grammar" not in dialect.body(asked)
    dialect.is_llama_cpp(4)
    assert dialect.body(asked)["grammar"] == 'root ::= "a"'
    assert dialect.capabilities.slots == 4
