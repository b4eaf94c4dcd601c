"""Caps against a real server on loopback, which counts for itself."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web

import stub_server as stub
from clear_pipeline.errors import BudgetExceededError, CallError
from clear_pipeline.llm.base import ChatModel, ChatRequest
from clear_pipeline.llm.budget import Budget
from clear_pipeline.llm.meter import Amount, Meter
from clear_pipeline.llm.open import open_model
from clear_pipeline.llm.settings import BudgetSettings, ModelSettings
from clear_pipeline.llm.spend import Spend
from clear_pipeline.llm.wire import request_body, usage_bound
from clear_pipeline.schema import Message
from stub_server import Body, StubServer

PRICES = {"input": 1.0, "cached": 0.5, "output": 4.0}


def ask(text: str = "q", **fields: Any) -> ChatRequest:  # noqa: ANN401
    return ChatRequest((Message("user", text),), **{"max_output_tokens": 8, "temperature": 0.0}
                       | fields)  # fmt: skip


@dataclass
class Counting:
    """Answers after a random time, and keeps its own count of what it bills."""

    seed: int
    billed: Amount = field(default_factory=Amount)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    async def reply(self, body: Body) -> web.StreamResponse:
        samples = body.get("n", 1)
        prompt = len(body["messages"][0]["content"])
        written = self._random.randint(0, samples * body["max_tokens"])
        self.billed += Amount(1, prompt + written, 1_000 * prompt + 4_000 * written)
        await asyncio.sleep(self._random.random() * 0.02)
        usage = {"prompt_tokens": prompt, "completion_tokens": written}
        return web.json_response(stub.completion(body, usage=usage))


def spend(
    server: StubServer, caps: BudgetSettings, work: Callable[[ChatModel], Awaitable[object]],
    *, embeds: bool = False, **fields: Any,  # noqa: ANN401
) -> Spend:  # fmt: skip
    """Work with a model of the server under caps; returns what it came to."""
    asked = {"model": "stub", "base_url": server.url, "backoff_s": 1e-3, "max_attempts": 3}
    settings = ModelSettings.model_validate({**asked, "price_per_mtok": PRICES, **fields})
    record = Spend()

    async def session() -> None:
        budget = Budget(caps, record)
        model = await open_model(
            settings, cache_path=None, meter=Meter(), budget=budget, embeds=embeds
        )
        try:
            await work(model)
        finally:
            await model.close()

    asyncio.run(session())
    return record


def most(question: ChatRequest) -> Amount:
    """What a question can cost at most."""
    bound = usage_bound({**request_body(question, "stub"), "max_tokens": 8})
    price = 1_000 * bound.prompt + 4_000 * bound.completion
    return Amount(1, bound.prompt + bound.completion, price)


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize(
    ("cap", "limit", "field"),
    [
        ("max_calls", 150, "calls"),
        ("max_tokens", 9_000, "tokens"),
        ("max_usd", 9_000 * 2e-6, "usd"),
    ],
)
def test_sixty_four_in_flight_pass_no_cap(cap: str, limit: float, field: str, seed: int) -> None:
    """By the server's own count; the stop comes less than one bound below, and loses no answer."""
    questions = [ask(f"{i:04}" + "x" * (i % 40), samples=range(1 + i % 3)) for i in range(400)]
    counting = Counting(seed)
    ends: list[object] = []

    async def work(model: ChatModel) -> None:
        asked = (model.complete(question) for question in questions)
        ends.extend(await asyncio.gather(*asked, return_exceptions=True))

    with StubServer(counting.reply) as server:
        record = spend(server, BudgetSettings.model_validate({cap: limit}), work)
    room = max(getattr(most(question), field) for question in questions)
    assert limit - room < getattr(counting.billed, field) <= limit
    assert record.spent == counting.billed
    assert record.unaccounted == Amount()
    refused = [end for end in ends if isinstance(end, BudgetExceededError)]
    assert len(refused) == len(questions) - counting.billed.calls
    assert 1 < server.most_open <= 64


@pytest.mark.parametrize(
    ("fault", "unaccounted"),
    [
        (stub.status(500), 2),
        (stub.status(408), 2),
        (stub.truncated, 2),
        (stub.hang, 2),
        (stub.says(stub.text_choice(None), usage=None), 2),
        (stub.status(429), 0),
        (stub.status(409), 0),
        (stub.status(403), 0),
        (stub.status(422), 0),
        (stub.status(400, message="messages: wrong"), 0),
        (stub.status(400, code="content_filter"), 2),
        (stub.status(400, message="maximum context length is 9 tokens"), 2),
    ],
)
def test_each_attempt_counts_as_it_may_have_been_billed(
    fault: stub.Reply, unaccounted: int
) -> None:
    """Refusals are calls for nothing; where nobody knows, the bound counts."""

    async def work(model: ChatModel) -> None:
        await model.complete(ask("0"))  # from now on a 403 is one row's own
        server.faults.extend([fault, fault])
        for text in ("1", "2"):
            with suppress(CallError):
                await model.complete(ask(text))

    with StubServer() as server:
        record = spend(server, BudgetSettings(), work, timeout_s=0.5)
    answered = len(server.bodies) - 2
    assert record.spent.calls == len(server.bodies)
    assert record.unaccounted.calls == unaccounted
    assert record.unaccounted.tokens == unaccounted * most(ask("1")).tokens
    counted = record.totals()["stub"].usage
    assert (counted.prompt, counted.completion) == (10 * answered, 2 * answered)


def test_a_retry_needs_room_of_its_own() -> None:
    """Two failed attempts use up two calls; the third is not sent."""

    async def work(model: ChatModel) -> None:
        with pytest.raises(BudgetExceededError, match="2 of 2 calls"):
            await model.complete(ask())

    with StubServer() as server:
        server.faults.extend([stub.status(429), stub.status(500)])
        record = spend(server, BudgetSettings(max_calls=2), work)
    assert len(server.bodies) == record.spent.calls == 2


def test_a_second_try_with_other_parameters_needs_room_of_its_own() -> None:
    """A refused parameter is left out in a second request of the same question."""

    async def work(model: ChatModel) -> None:
        with pytest.raises(BudgetExceededError, match="1 of 1 calls"):
            await model.complete(ask(seed=1))

    with StubServer(stub.refuses("seed")) as server:
        spend(server, BudgetSettings(max_calls=1), work)
    assert len(server.bodies) == 1


def test_room_to_think_is_reserved() -> None:
    """A reply that was cut inside its reasoning is asked for again, with 1,024 tokens bound."""
    cut = stub.text_choice("", finish_reason="length")
    cut["message"]["reasoning_content"] = "Let me see"

    async def work(model: ChatModel) -> None:
        with pytest.raises(BudgetExceededError) as stop:
            await model.complete(ask())
        spent = 12  # as the stub counts
        assert stop.value.needed == spent + most(ask()).tokens - 8 + len("1024") - 1 + 1024

    with StubServer() as server:
        server.faults.append(stub.says(cut))
        spend(server, BudgetSettings(max_tokens=most(ask()).tokens), work)
    assert len(server.bodies) == 1


def test_without_a_connection_nothing_is_billed() -> None:
    """Every attempt is a call; no token is held against it."""

    async def work(model: ChatModel) -> None:
        server.__exit__()
        with pytest.raises(CallError, match="unreachable"):
            await model.complete(ask())

    server = StubServer().__enter__()
    record = spend(server, BudgetSettings(), work)
    assert record.spent == Amount(calls=3)


def test_embeddings_pass_the_budget() -> None:
    """A vector is a call of prompt tokens alone."""

    async def work(model: ChatModel) -> None:
        await model.complete(ask("a"))
        with pytest.raises(BudgetExceededError):
            await model.complete(ask("b"))

    with StubServer() as server:
        record = spend(server, BudgetSettings(max_calls=1), work, embeds=True)
    assert record.spent == Amount(1, 3, 3_000)
    assert len(server.embedded) == 1
