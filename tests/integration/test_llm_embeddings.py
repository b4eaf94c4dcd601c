"""Embeddings against a real server on loopback: what is sent, cached, counted and retried."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

import stub_server as stub
from clear_pipeline.errors import BudgetExceededError, CallError, UsageError
from clear_pipeline.llm.base import OMIT, ChatRequest, Completion, Usage
from clear_pipeline.llm.budget import Budget
from clear_pipeline.llm.meter import Meter, Totals
from clear_pipeline.llm.open import model_identity, open_model
from clear_pipeline.llm.settings import BudgetSettings, ModelSettings
from clear_pipeline.llm.spend import Spend
from clear_pipeline.schema import Message
from stub_server import StubServer


def settings(server: StubServer) -> ModelSettings:
    return ModelSettings(model="stub", base_url=server.url, backoff_s=1e-3, max_attempts=2)


def embed(server: StubServer, text: str, cache: Path | None = None) -> tuple[str, Totals]:
    async def session() -> tuple[str, Totals]:
        meter = Meter()
        model = await open_model(settings(server), cache_path=cache, meter=meter, embeds=True)
        try:
            request = ChatRequest((Message("user", text),), 1, OMIT)
            return (await model.complete(request)).text, meter.snapshot()
        finally:
            await model.close()

    return asyncio.run(session())


def test_a_vector_is_asked_for_once_and_its_tokens_are_counted(tmp_path: Path) -> None:
    """The second session finds it in the cache; a fault that may pass is asked again."""
    with StubServer() as server:
        server.faults.append(stub.status(503))
        said, first = embed(server, "cat", tmp_path / "c")
        again, second = embed(server, "cat", tmp_path / "c")
    assert said == again == "[3.0,1.0]"
    body = {"model": "stub", "input": "cat", "encoding_format": "float"}
    assert server.embedded == [body, body]
    assert (first.requests, first.retries, first.usage) == (2, 1, Usage(prompt=3))
    assert (second.requests, second.cached_samples) == (0, 1)


async def ask_all(
    server: StubServer, texts: list[str], budget: Budget | None = None
) -> list[Completion | BaseException]:
    model = await open_model(
        settings(server), cache_path=None, meter=Meter(), embeds=True, budget=budget
    )
    try:
        requests = [ChatRequest((Message("user", text),), 1, OMIT) for text in texts]
        asked = [model.complete(request) for request in requests]
        return await asyncio.gather(*asked, return_exceptions=True)
    finally:
        await model.close()


def test_texts_that_are_asked_at_once_share_a_request() -> None:
    """Each has its own vector, and its share of the tokens."""
    with StubServer() as server:
        found = asyncio.run(ask_all(server, ["a", "bb", "cccc"]))
    assert [body["input"] for body in server.embedded] == [["a", "bb", "cccc"]]
    said = [each for each in found if isinstance(each, Completion)]
    assert [each.text for each in said] == ["[1.0,1.0]", "[2.0,1.0]", "[4.0,1.0]"]
    assert sum(each.usage.prompt for each in said) == 9


def test_a_text_that_is_refused_takes_no_other_with_it() -> None:
    """A request that is refused is halved, down to the text that is to blame."""
    too_long = stub.status(400, message="maximum context length is 512 tokens")
    with StubServer() as server:
        server.faults += [too_long, too_long]
        found = asyncio.run(ask_all(server, ["a", "bb", "cccc"]))
    sent = [body["input"] for body in server.embedded]
    assert sent == [["a", "bb", "cccc"], ["a", "bb"], "a", "bb", "cccc"]
    assert all(isinstance(each, Completion) for each in found)
    with StubServer() as server:
        server.faults += [too_long] * 3
        failed, *others = asyncio.run(ask_all(server, ["a", "bb", "cccc"]))
    assert isinstance(failed, CallError)
    assert failed.kind == "context"
    assert all(isinstance(each, Completion) for each in others)


def test_a_stop_by_a_cap_keeps_the_half_that_was_paid_for() -> None:
    """Of three calls two are allowed: the refusal and the first half; the rest is not asked."""
    with StubServer() as server:
        server.faults.append(stub.status(400, message="maximum context length is 512 tokens"))
        budget = Budget(BudgetSettings(max_calls=2), Spend())
        paid, stopped = asyncio.run(ask_all(server, ["a", "bb"], budget))
    assert isinstance(paid, Completion)
    assert isinstance(stopped, BudgetExceededError)


def test_an_endpoint_that_takes_fewer_texts_is_sent_fewer() -> None:
    """After one refusal of four texts, two go in a request."""
    too_many = stub.status(400, message="batch size 4 > maximum allowed batch size 2")
    with StubServer() as server:
        server.faults.append(too_many)

        async def twice() -> None:
            model = await open_model(settings(server), cache_path=None, meter=Meter(), embeds=True)
            try:
                for letters in ("abcd", "efgh"):
                    asked = [ChatRequest((Message("user", each),), 1, OMIT) for each in letters]
                    await asyncio.gather(*map(model.complete, asked))
            finally:
                await model.close()

        asyncio.run(twice())
    sizes = [len(body["input"]) for body in server.embedded]
    assert sizes == [4, 2, 2, 2, 2]


def test_a_text_that_is_too_long_is_that_rows_failure() -> None:
    """Nothing is cut: the kind is `context`."""
    with StubServer() as server:
        server.faults.append(stub.status(400, message="maximum context length is 512 tokens"))
        with pytest.raises(CallError, match="context: maximum"):
            embed(server, "cat")


def test_an_endpoint_without_embeddings_stops_the_run() -> None:
    """A 404 is no row's failure."""
    with StubServer() as server:
        server.faults.append(stub.status(404))
        with pytest.raises(UsageError, match="lists 'stub' but answers 404"):
            embed(server, "cat")


def test_words_and_vectors_of_one_model_are_kept_apart() -> None:
    """Equal texts must not share an answer in the cache."""
    given = ModelSettings(model="m", base_url="http://h/v1")
    assert model_identity(given, embeds=True) != model_identity(given)
