"""One endpoint that misbehaves: what the client makes of it, without the layers above."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import pytest
from aiohttp import web

import stub_server as stub
from clear_pipeline.errors import CallError, RunFailedError, UsageError
from clear_pipeline.llm.base import Capabilities, ChatRequest, Usage
from clear_pipeline.llm.budget import Budget
from clear_pipeline.llm.meter import Meter
from clear_pipeline.llm.openai_chat import OpenAIChat
from clear_pipeline.llm.settings import BudgetSettings, ModelSettings
from clear_pipeline.llm.spend import Spend
from clear_pipeline.llm.spend_file import SpendFile, read_spend
from clear_pipeline.llm.tokens import ByLength, counter_for
from clear_pipeline.schema import Message
from stub_server import Body, StubServer

T = TypeVar("T")
KEY = "sk-do-not-print-me-5f2c"
ASK = ChatRequest((Message("user", "q"),), 4, 0.0)


def use(
    url: str | None,
    work: Callable[[OpenAIChat], Awaitable[T]],
    *,
    record: Spend | None = None,
    timeout_s: float = 600.0,
) -> T:
    """Make a client of the address, work with it, close it."""
    settings = ModelSettings(model="stub", base_url=url, timeout_s=timeout_s)

    async def session() -> T:
        account = Budget(BudgetSettings(), record or Spend()).account("stub", None, Meter())
        client = OpenAIChat(settings, account=account)
        try:
            return await work(client)
        finally:
            await client.close()

    return asyncio.run(session())


async def complete(client: OpenAIChat) -> str:
    return (await client.complete(ASK)).text


def test_a_404_for_a_model_that_is_listed_is_told_as_the_server_tells_it() -> None:
    """The model is not said to be missing; the server's own words stand there."""
    with StubServer(stub.status(404, message="no such route")) as server:
        with pytest.raises(UsageError) as failure:
            use(server.url, complete)
        assert str(failure.value) == f"{server.url} lists 'stub' but answers 404: no such route"


@pytest.mark.parametrize("code", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(code: int) -> None:
    """Nothing reaches the other server; the run stops with its URL, and without the secrets in it.

    127.0.0.1 and localhost are two hosts; the query and the password of the target are left out.
    """
    with StubServer() as other, StubServer() as server:
        host = f"localhost:{other.port}"
        target = f"http://u:{KEY}@{host}/v1/chat/completions?token={KEY}"
        server.faults.append(stub.status(code, headers={"Location": target}))
        with pytest.raises(RunFailedError, match="redirects to localhost ") as failure:
            use(server.url, complete)
        assert other.bodies == []
    assert str(failure.value).endswith(f"--base-url http://{host}/v1")
    assert KEY not in str(failure.value)


@pytest.mark.parametrize("headers", [{}, {"Location": "http://b:port/"}])
def test_a_redirect_to_nowhere_stops_the_run(headers: dict[str, str]) -> None:
    """One without an address, or with what is none, is told as such."""
    with StubServer() as server:
        server.faults.append(stub.status(307, headers=headers))
        with pytest.raises(RunFailedError, match="redirect to nowhere"):
            use(server.url, complete)


@pytest.mark.parametrize(
    "fault", [stub.dropped, stub.nested, stub.no_http, stub.status(500), stub.page]
)
def test_a_server_that_fails_to_count_can_still_be_asked(fault: stub.Reply) -> None:
    """However /tokenize fails, tokens are counted by length and the model answers."""

    async def work(client: OpenAIChat) -> tuple[str, str]:
        counter = await counter_for("homegrown", client, llama_cpp=False)
        return counter.how, await complete(client)

    with StubServer(counts=True) as server:
        server.extra_faults.append(fault)
        how, text = use(server.url, work)
    assert how == ByLength.how
    assert text


@pytest.mark.parametrize("fault", [stub.dropped, stub.no_http, stub.status(500), stub.page])
def test_a_server_that_fails_to_tell_what_it_is_can_still_be_asked(fault: stub.Reply) -> None:
    """However /props fails, the server is up: the model answers, and is taken for any other."""

    async def work(client: OpenAIChat) -> tuple[Capabilities, str]:
        await client.probe()
        return client.capabilities, await complete(client)

    with StubServer(llama_slots=4) as server:
        server.extra_faults.extend([fault] * 2)  # aiohttp asks again where a connection breaks off
        known, text = use(server.url, work)
    assert known == Capabilities()
    assert text


def test_a_hanging_extra_holds_nobody_for_the_time_of_an_answer() -> None:
    """/props, /models and /tokenize are given up long before the ten minutes of an answer.

    What hung is told as nothing, and a path that counts is not asked a second time.
    """

    async def work(client: OpenAIChat) -> list[Body]:
        server.faults.append(stub.status(404, message="no such route"))
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            group.create_task(client.probe())
            refused = group.create_task(refusal(client))
            first = group.create_task(client.ask_root("/tokenize", {"content": "a"}))
        assert "no such route" in refused.result()
        assert client.capabilities == Capabilities()
        return [first.result(), await client.ask_root("/tokenize", {"content": "a"})]

    async def refusal(client: OpenAIChat) -> str:
        with pytest.raises(UsageError) as failure:
            await client.complete(ASK)
        return str(failure.value)

    with StubServer(llama_slots=4, counts=True) as server:
        server.extra_faults.extend([stub.hang] * 3)
        assert use(server.url, work) == [{}, {}]


def test_a_busy_server_that_has_counted_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Late, it still counts: counts of a server and guesses by length do not go together."""
    monkeypatch.setattr("clear_pipeline.llm.openai_chat._EXTRA_SECONDS", 0.5)

    async def late(_: Body) -> web.StreamResponse:
        await asyncio.sleep(1.0)
        return web.json_response({"tokens": [1, 2, 3]})

    async def work(client: OpenAIChat) -> list[Body]:
        return [await client.ask_root("/tokenize", {"content": "a"}) for _ in range(3)]

    with StubServer(llama_slots=4, counts=True) as server:
        server.extra_faults.extend([late])
        assert use(server.url, work) == [{}, {}, {}]  # a first answer that is late is none
    with StubServer(llama_slots=4, counts=True) as server:

        async def busy_later(client: OpenAIChat) -> list[int]:
            first = await client.ask_root("/tokenize", {"content": "a"})
            server.extra_faults.append(late)
            rest = await work(client)
            return [len(reply["tokens"]) for reply in [first, *rest]]

        assert use(server.url, busy_later) == [1, 3, 1, 1]


def test_a_count_beyond_all_measure_leaves_the_request_at_its_bound(tmp_path: Path) -> None:
    """The answer is taken, the record of spend stays whole, and no absurd count is in it."""
    path = tmp_path / "spend.sqlite"
    record = SpendFile(path, earlier={})
    usage = {"prompt_tokens": 10**30, "completion_tokens": 1}
    with StubServer(stub.says(stub.text_choice("Yes"), usage=usage)) as server:
        assert use(server.url, complete, record=record) == "Yes"
    record.close()
    totals = (read_spend(path) or {})["stub"]
    assert (totals.requests, totals.unaccounted.calls) == (1, 1)
    assert totals.usage == Usage()


def test_a_refusal_may_have_any_bytes_in_its_headers() -> None:
    """A 503 stays one that may pass, and counts at its bound."""
    record = Spend()
    with StubServer() as server:
        server.faults.append(stub.status(503, headers={"X-Reason": "nicht verfügbar"}))
        with pytest.raises(CallError) as failure:
            use(server.url, complete, record=record)
    assert (failure.value.kind, failure.value.transient) == ("outage", True)
    assert record.unaccounted.calls == 1


def behind(proxy: str, *, timeout_s: float = 600.0) -> CallError:
    """What becomes of a question to OpenAI through this proxy."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENAI_API_KEY", KEY)
        patch.setenv("HTTPS_PROXY", proxy)
        with pytest.raises(CallError) as failure:
            use(None, complete, timeout_s=timeout_s)
    return failure.value


def test_a_proxy_that_never_answers_is_given_up() -> None:
    """In the time that an answer has, since a hanging connection would hold its place for ever.

    The address may lack its scheme, as curl takes it.
    """
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        error = behind(f"127.0.0.1:{silent.getsockname()[1]}", timeout_s=0.5)
    assert (error.kind, error.transient) == ("timeout", True)


def test_a_proxy_that_refuses_is_an_outage() -> None:
    """Nothing is said of the base URL, which is not at fault; it may pass."""
    with StubServer() as server:  # it knows no CONNECT
        error = behind(f"http://127.0.0.1:{server.port}")
    assert (error.kind, error.transient) == ("outage", True)
    assert "base_url" not in error.message


def test_openai_out_of_reach_is_the_network_s_fault() -> None:
    """The network and the proxy are to be checked; no server of one's own is advised."""

    async def work(client: OpenAIChat) -> str:
        with pytest.raises(CallError) as failure:
            await complete(client)
        return failure.value.message

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        proxy = f"http://127.0.0.1:{free.getsockname()[1]}"
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("OPENAI_API_KEY", KEY)
            patch.setenv("HTTPS_PROXY", proxy)
            message = use(None, work)
    assert "HTTPS_PROXY" in message
    assert proxy.removeprefix("http://") in message
    assert "ollama" not in message
