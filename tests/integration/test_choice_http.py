"""Verdicts and likelihoods through the whole stack: endpoints that differ in what they give."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest
from aiohttp import web

import stub_server as stub
from clear_pipeline.errors import CallError, UsageError
from clear_pipeline.llm.base import ChatModel
from clear_pipeline.llm.meter import Meter
from clear_pipeline.llm.open import open_model
from clear_pipeline.llm.settings import ModelSettings
from clear_pipeline.schema import Example, Message, rows_table
from clear_pipeline.scoring.choice import ChoiceReply, ask_choice
from clear_pipeline.scoring.consistency import NoDrawError, draw
from clear_pipeline.scoring.likelihood import ALONE, Likelihood, likelihood, require_likelihood
from clear_pipeline.stages.base import Context, Shard
from clear_pipeline.stages.score import Score
from stub_server import Body, StubServer

T = TypeVar("T")
YES_NO = ("Yes", "No")


def use(
    server: StubServer,
    work: Callable[[ChatModel], Awaitable[T]],
    *,
    cache: Path | None = None,
    **fields: Any,  # noqa: ANN401
) -> T:
    """Open a model on the server, work with it, close it."""
    settings = ModelSettings(
        **{"model": "stub", "base_url": server.url, "backoff_s": 1e-3, "max_attempts": 2, **fields}
    )

    async def session() -> T:
        model = await open_model(settings, cache_path=cache, meter=Meter())
        try:
            return await work(model)
        finally:
            await model.close()

    return asyncio.run(session())


def ask(*rows: str, **options: Any) -> Callable[[ChatModel], Awaitable[list[ChoiceReply]]]:  # noqa: ANN401
    """Ask Yes or No about each row in turn."""

    async def work(model: ChatModel) -> list[ChoiceReply]:
        return [
            await ask_choice(
                model, (Message("user", f"{row}. Reply with one word: Yes or No."),),
                choices=YES_NO, **options,
            )
            for row in rows
        ]  # fmt: skip

    return work


def listed(token: str, **top: float) -> Body:
    """One token of a reply with its alternatives."""
    shown = [{"token": t, "logprob": math.log(p)} for t, p in top.items()]
    return {"token": token, "logprob": -0.1, "top_logprobs": shown}


def tokens(*entries: Body) -> Body:
    return {"content": list(entries)}


async def without_logprobs(body: Body) -> web.StreamResponse:
    """Drop the parameter silently, as many endpoints do."""
    return await stub.answer({k: v for k, v in body.items() if "logprobs" not in k})


async def null_logprobs(body: Body) -> web.StreamResponse:
    """Take the parameter and answer null."""
    return await stub.says(stub.text_choice("Yes", logprobs=None))(body)


@pytest.mark.parametrize(
    "reply",
    [stub.refuses("logprobs"), stub.refuses("top_logprobs"), without_logprobs, null_logprobs],
)
def test_an_endpoint_without_probabilities_is_found_out_once(reply: stub.Reply) -> None:
    """Refused, dropped or null: the first row costs more, every later one a single call."""
    with StubServer(reply) as server:
        found = use(server, ask("a", "b", "c"))
    assert [reply.via for reply in found] == ["text"] * 3
    assert ["logprobs" in body for body in server.bodies[-2:]] == [False, False]


def test_a_number_that_is_none_is_asked_for_again() -> None:
    """NaN comes from a computation gone wrong; the row keeps its probability."""
    broken = tokens({"token": "Yes", "logprob": math.nan, "top_logprobs": []})
    with StubServer() as server:
        server.faults.append(stub.says(stub.text_choice("Yes", logprobs=broken)))
        found = use(server, ask("a", "b"))
    assert [reply.via for reply in found] == ["logprobs", "logprobs"]


def talks_or_json(body: Body) -> Body:
    """Chatty by itself; a JSON object where a schema is given."""
    if "response_format" not in body:
        return stub.text_choice("Let us see: no", logprobs=tokens(listed("Let", Let=0.9)))
    pieces = ['{"', "answer", '":', ' "']
    entries = [listed(piece) for piece in pieces]
    decisive = listed("No", No=0.7, Yes=0.1)
    return stub.text_choice(
        '{"answer": "No"}', logprobs=tokens(*entries, decisive, listed('"}'))
    )  # fmt: skip


async def takes_schema(body: Body) -> web.StreamResponse:
    return await stub.says(talks_or_json(body))(body)


async def refuses_schema(body: Body) -> web.StreamResponse:
    if "response_format" in body:
        text = "This model does not support response format `json_schema`."
        return await stub.status(400, message=text, param="response_format")(body)
    return await takes_schema(body)


async def ignores_schema(body: Body) -> web.StreamResponse:
    return await takes_schema({k: v for k, v in body.items() if k != "response_format"})


def test_a_schema_constrains_a_chatty_model() -> None:
    """An enum in OpenAI's form, log-probabilities with it; 0.7 and 0.1 are 0.875 and 0.125."""
    with StubServer(takes_schema) as server:
        (found,) = use(server, ask("a"))
    assert (found.via, found.mass) == ("schema", 0.0)
    assert found.probabilities == pytest.approx({"Yes": 0.125, "No": 0.875})
    sent = server.bodies[-1]
    schema = sent["response_format"]["json_schema"]
    assert (sent["response_format"]["type"], schema["strict"]) == ("json_schema", True)
    assert schema["schema"]["properties"]["answer"]["enum"] == list(YES_NO)
    assert sent["logprobs"] is True


@pytest.mark.parametrize(("reply", "calls"), [(refuses_schema, 3), (ignores_schema, 2)])
def test_an_endpoint_without_schemas_is_found_out_once(reply: stub.Reply, calls: int) -> None:
    """Refused: asked in words. Ignored: the reply is words already. Then no schema is sent."""
    with StubServer(reply) as server:
        found = use(server, ask("a", "b"))
    assert [r.via for r in found] == ["text", "text"]
    assert [r.probabilities["No"] for r in found] == [1.0, 1.0]
    assert len(server.bodies) == calls + 2
    assert ["response_format" in body for body in server.bodies].count(True) == 1


def thinks(*, apart: bool, logprobs: bool) -> stub.Reply:
    """A reasoning model: cut inside its thoughts without room, else thoughts and a verdict."""

    async def reply(body: Body) -> web.StreamResponse:
        room = body["max_tokens"] >= 1024
        text, thought = ("No" if room else None), "Yes? Let me see"
        message = {"role": "assistant", "content": text, "reasoning_content": thought}
        if not apart:
            inside = f"<think>{thought}</think>\n\nNo" if room else "<think>Yes?"
            message = {"role": "assistant", "content": inside}
        choice = {"index": 0, "message": message, "finish_reason": "stop" if room else "length"}
        if logprobs and body.get("logprobs"):
            shown = [listed("<think>"), listed("Yes"), listed("</think>"), listed("\n\n")]
            choice["logprobs"] = tokens(*shown, listed("No", No=0.8, Yes=0.2))
        return await stub.says(choice)(body)

    return reply


@pytest.mark.parametrize("apart", [True, False])
@pytest.mark.parametrize(("logprobs", "no"), [(True, 0.8), (False, 1.0)])
def test_a_reasoning_model_gets_room_and_is_read_after_its_reasoning(
    apart: bool, logprobs: bool, no: float  # noqa: FBT001
) -> None:  # fmt: skip
    """Reasoning apart or between tags; probabilities of the visible token, or words."""
    with StubServer(thinks(apart=apart, logprobs=logprobs)) as server:
        found = use(server, ask("a", "b"))
    assert [r.probabilities["No"] for r in found] == pytest.approx([no, no])
    assert [body["max_tokens"] for body in server.bodies] == [1, 1024, 1024]


def test_rows_that_were_open_when_a_model_was_found_to_think_are_asked_again() -> None:
    """All were sent without room; none of them is lost."""

    async def together(model: ChatModel) -> list[list[ChoiceReply]]:
        return await asyncio.gather(*(ask(str(i))(model) for i in range(8)))

    with StubServer(thinks(apart=True, logprobs=False), delay=0.01) as server:
        found = use(server, together)
    assert [reply.probabilities["No"] for (reply,) in found] == [1.0] * 8


def test_endless_reasoning_fails_the_row_and_no_other() -> None:
    """Its error says so; the next row is scored."""
    endless = {"role": "assistant", "content": None, "reasoning_content": "hm"}
    cut = {"index": 0, "message": endless, "finish_reason": "length"}

    async def both(model: ChatModel) -> ChoiceReply:
        with pytest.raises(CallError, match="the reasoning came to no answer"):
            await ask("a")(model)
        return (await ask("b")(model))[0]

    with StubServer(thinks(apart=True, logprobs=False)) as server:
        server.faults.extend([stub.says(cut)] * 2)
        assert use(server, both).probabilities["No"] == 1.0


@pytest.mark.parametrize(
    "message",
    ["Only one completion choice is allowed", "`n` must be 1", "n > 1 is not supported",
     "Invalid value for 'n'"],
)  # fmt: skip
def test_samples_are_asked_for_singly_where_n_is_refused(message: str) -> None:
    """However the server says it; each sample has its own seed."""

    async def one(body: Body) -> web.StreamResponse:
        return await (stub.status(400, message=message) if "n" in body else stub.answer)(body)

    with StubServer(one) as server:
        use(server, ask("a", via="text", text_samples=3))
    assert [body["seed"] for body in server.bodies if "n" not in body] == [0, 1, 2]


def test_a_broken_sample_among_good_ones_is_asked_for_again() -> None:
    """One without a message, two with the same index: the good ones are kept and one is missing."""
    good = [stub.text_choice("Yes", index=0), stub.text_choice("No", index=0)]
    with StubServer() as server:
        server.faults.append(stub.says(*good, {"index": 1, "finish_reason": "error"}))
        server.faults.append(stub.says(stub.text_choice("Yes")))
        (found,) = use(server, ask("a", via="text", text_samples=3))
    assert found.probabilities == pytest.approx({"Yes": 2 / 3, "No": 1 / 3})
    assert [body.get("n") for body in server.bodies] == [3, None]


ROW = Example(
    id="a:1", file="a", line=1, format="chat", original="{}",
    messages=(Message("user", "Name two birds, a wren and an owl."),),
    target=Message("assistant", "a wren and a robin"),
)  # fmt: skip


def test_draws_that_were_cut_or_withheld_are_left_out() -> None:
    """What is left counts; log-probabilities are of no concern."""
    replies = [
        stub.text_choice("FINAL RESPONSE: an owl", index=0),
        stub.text_choice("Let me", index=1, finish_reason="length"),
        stub.text_choice(None, index=2, finish_reason="content_filter"),
        stub.text_choice(None, index=3, message={"content": None, "refusal": "I can't name birds"}),
    ]
    with StubServer(stub.says(*replies)) as server:
        drawn = use(server, lambda m: draw(m, ROW, k=4, temperature=1.0, max_tokens=9))
    assert drawn == ["an owl"]
    nothing = pytest.raises(NoDrawError, match="content_filter: the model declined")
    with StubServer(stub.says(*replies[2:])) as server, nothing:
        use(server, lambda m: draw(m, ROW, k=2, temperature=1.0, max_tokens=9))


def expected(messages: tuple[Message, ...], text: str, *, limit: int) -> float:
    """The sum over the first tokens of the response, by the stub's own rule."""
    sent = [{"role": m.role, "content": m.text} for m in messages]
    before = stub.vllm_tokens({"messages": sent})
    turn = {"role": "assistant", "content": text}
    every = stub.vllm_tokens({"messages": [*sent, turn], "continue_final_message": True})
    assert every[: len(before)] == before
    places = range(len(before), min(len(every), len(before) + limit))
    return sum(stub.vllm_logprob(every[:place], every[place]) for place in places)


def test_vllm_scores_the_response_in_the_prompt() -> None:
    """The tokens after those of the request, and after those of nothing; the rest is cut."""
    with StubServer(stub.vllm) as server:
        found = use(server, lambda m: likelihood(m, ROW, max_tokens=5))
    given = expected(ROW.messages, ROW.response, limit=5)
    alone = expected(ALONE, ROW.response, limit=5)
    assert found == Likelihood(pytest.approx(given), pytest.approx(alone), 5, cut=True)  # type: ignore[arg-type]
    assert found.score > 0.5
    form = {"prompt_logprobs": 0, "add_generation_prompt": False, "continue_final_message": True}
    sent = [body for body in server.bodies if "prompt_logprobs" in body]
    assert len(sent) == 2
    assert all(form.items() <= body.items() and body["max_tokens"] == 1 for body in sent)


def test_the_request_that_says_nothing_is_counted_once_per_run(tmp_path: Path) -> None:
    """Three calls a row; another number of tokens costs none."""

    async def rows(model: ChatModel) -> None:
        for text in ("one", "two"):
            other = Example(
                id=text, file="a", line=1, format="chat", original="{}",
                messages=(Message("user", text),), target=ROW.target,
            )  # fmt: skip
            await likelihood(model, other, max_tokens=5)
            await likelihood(model, other, max_tokens=2)

    with StubServer(stub.vllm) as server:
        use(server, rows, cache=tmp_path / "c")
    assert len(server.bodies) == 1 + 1 + 2 * 2


@pytest.mark.parametrize(
    "reply", [stub.answer, stub.refuses("prompt_logprobs"), stub.refuses("continue_final_message")]
)
def test_a_server_that_scores_no_prompt_is_refused_before_the_first_row(reply: stub.Reply) -> None:
    """Ignored or refused; found out by asking once."""
    with StubServer(reply) as server, pytest.raises(UsageError, match="vLLM"):
        use(server, require_likelihood)
    assert len(server.bodies) == 2


def test_a_row_that_the_chat_template_changes_stops_no_later_shard() -> None:
    """A vLLM refuses it in the parameter's name, and goes on to score the others."""
    thought = replace(ROW, target=Message("assistant", "hm</think> four"))

    async def template(body: Body) -> web.StreamResponse:
        if "</think>" in str(body["messages"]):
            said = "continue_final_message is set but the final message does not appear in the chat"
            return await stub.status(400, message=said)(body)
        return await stub.vllm(body)

    async def shards(model: ChatModel) -> Likelihood:
        await require_likelihood(model)
        with pytest.raises(CallError, match="bad_request"):
            await likelihood(model, thought, max_tokens=5)
        await require_likelihood(model)
        return await likelihood(model, ROW, max_tokens=5)

    with StubServer(template) as server:
        assert use(server, shards).tokens == 5


def test_a_template_that_closes_the_turn_gives_no_wrong_score() -> None:
    """A server that ignores `continue_final_message` scores other tokens than the response's."""

    async def closes(body: Body) -> web.StreamResponse:
        return await stub.vllm({**body, "continue_final_message": False})

    with StubServer(closes) as server, pytest.raises(CallError, match="not those of the text"):
        use(server, lambda m: likelihood(m, ROW, max_tokens=5))


def scored(server: StubServer, stage: Score, *, cache: Path | None = None) -> list[dict[str, Any]]:
    async def work(model: ChatModel) -> list[dict[str, Any]]:
        shard = Shard("s", rows_table([ROW]))
        table = await stage.annotate(shard, [True], None, Context({"scorer": model}))
        rows: list[dict[str, Any]] = table.to_pylist()
        return rows

    return use(server, work, cache=cache)


def test_a_score_says_what_each_part_took_and_again_from_the_cache(tmp_path: Path) -> None:
    """Each call of the stub is 10 and 2 tokens; a rerun asks nothing and says the same."""
    stage = Score(reflection=("yes_no", "no_yes"), k=1, similarity="lexical")
    with StubServer() as server:
        (first,) = scored(server, stage, cache=tmp_path / "c")
        asked = len(server.bodies)
        (again,) = scored(server, stage, cache=tmp_path / "c")
    assert first == again
    assert len(server.bodies) == asked
    assert first["consistency_usage"] == {"calls": 1, "prompt": 10, "cached": 0, "completion": 2}
    assert first["reflection_usage"]["calls"] == asked - 1
    assert first["reflection_usage"]["prompt"] == 10 * (asked - 1)
    assert first["likelihood_usage"] is None


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (stub.status(400, message="This model's maximum context length is 9 tokens. However, you "
                     "requested 4811 tokens"), "4811 tokens"),
        (stub.status(400, message="The decoder prompt (length 4811) is longer than the maximum "
                     "model length of 9."), "4811"),
        (stub.status(400, message="'max_tokens' or 'max_completion_tokens' is too large: 1. This "
                     "model's maximum context length is 9 tokens and your request has 4811 input "
                     "tokens"), "4811 input tokens"),
        (stub.status(400, message="the request exceeds the available context size",
                     type="exceed_context_size_error", n_prompt_tokens=4811, n_ctx=9),
         "4811 tokens, window 9"),
    ],
)  # fmt: skip
def test_a_row_longer_than_the_window_is_unscored_with_its_token_count(
    fault: stub.Reply, said: str
) -> None:
    """As the server counted them; asked once."""
    with StubServer(fault) as server:
        (row,) = scored(server, Score(reflection=("yes_no",), max_failed_fraction=1.0))
    assert row["score_status"] == "unscored"
    assert row["score_error"].startswith("context: ")
    assert said in row["score_error"]
    assert len(server.bodies) == 1
