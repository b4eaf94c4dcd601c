"""Embeddings against a real server on loopback: what is sent, cached, counted and retried."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

import stub_server as stub
from clear_pipeline.errors import CallError, UsageError
from clear_pipeline.llm.base import OMIT, ChatRequest, Usage
from clear_pipeline.llm.meter import Meter, Totals
from clear_pipeline.llm.open import model_identity, open_model
from clear_pipeline.llm.settings import ModelSettings
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
