"""The whole model stack against a real server on loopback: what is sent, and what failures do."""

import asyncio
import logging
import socket
import threading
from collections.abc import Awaitable, Callable
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeVar

import pytest
from aiohttp import web

import stub_server as stub
from clear_pipeline.errors import CallError, RunFailedError, UnreachableError, UsageError
from clear_pipeline.llm.base import OMIT, ChatModel, ChatRequest, Completion, Usage
from clear_pipeline.llm.breaker import GONE_AFTER
from clear_pipeline.llm.endpoint import client_of
from clear_pipeline.llm.meter import Meter, Totals
from clear_pipeline.llm.open import open_model
from clear_pipeline.llm.settings import ModelSettings
from clear_pipeline.schema import Message
from loopback import LoopbackServer
from stub_server import Body, StubServer

T = TypeVar("T")
KEY = "sk-do-not-print-me-5f2c"
GIVEN_UP = stub.says(stub.text_choice("The capital of", finish_reason="error"))


def ask(text: str = "q", **fields: Any) -> ChatRequest:  # noqa: ANN401
    return ChatRequest(
        (Message("user", text),), **{"max_output_tokens": 4, "temperature": 0.0} | fields
    )


def use(
    server: StubServer | str,
    work: Callable[[ChatModel], Awaitable[T]],
    *,
    cache: Path | None = None,
    **fields: Any,  # noqa: ANN401
) -> tuple[T, Totals]:
    """Open a model on the server, work with it, close it."""
    url = server if isinstance(server, str) else server.url
    settings = ModelSettings(
        **{"model": "stub", "base_url": url, "backoff_s": 1e-3, "max_attempts": 3, **fields}
    )

    async def session() -> tuple[T, Totals]:
        meter = Meter()
        model = await open_model(settings, cache_path=cache, meter=meter)
        try:
            return await work(model), meter.snapshot()
        finally:
            await model.close()

    return asyncio.run(session())


def complete(request: ChatRequest) -> Callable[[ChatModel], Awaitable[Completion]]:
    return lambda model: model.complete(request)


def failing(request: ChatRequest) -> Callable[[ChatModel], Awaitable[CallError]]:
    async def work(model: ChatModel) -> CallError:
        with pytest.raises(CallError) as failure:
            await model.complete(request)
        return failure.value

    return work


def test_what_arrives_is_what_was_asked() -> None:
    """Temperature 0.0 arrives, k draws come in one request, and omitted parameters are absent."""
    with StubServer() as server:
        use(server, complete(ask(samples=range(5), seed=0)))
        use(server, complete(ask(temperature=OMIT)))
    drawn, plain = server.bodies
    assert (drawn["temperature"], drawn["n"], drawn["seed"]) == (0.0, 5, 0)
    assert drawn["max_tokens"] == 4
    assert plain.keys() == {"model", "messages", "max_tokens"}


def test_cached_samples_are_not_asked_again(tmp_path: Path) -> None:
    """A second session asks the server for the missing draws only."""
    with StubServer() as server:
        first, _ = use(server, complete(ask(samples=range(3))), cache=tmp_path / "c")
        again, totals = use(server, complete(ask(samples=range(5))), cache=tmp_path / "c")
    assert again.choices[:3] == first.choices
    assert [body.get("n") for body in server.bodies] == [3, 2]
    assert (totals.requests, totals.samples, totals.cached_samples) == (1, 2, 3)


def test_requests_in_flight_stay_under_the_limit() -> None:
    """Forty questions at once, three open requests."""

    async def many(model: ChatModel) -> None:
        await asyncio.gather(*(model.complete(ask(str(i))) for i in range(40)))

    with StubServer(delay=0.005) as server:
        use(server, many, max_in_flight=3)
    assert len(server.bodies) == 40
    assert server.most_open == 3


@pytest.mark.parametrize("fault", [stub.status(500), stub.status(503), stub.truncated,
                                   stub.nested, stub.dropped, stub.says(), stub.status(429),
                                   stub.status(408), GIVEN_UP])  # fmt: skip
def test_a_fault_that_may_pass_is_asked_again(fault: stub.Reply, tmp_path: Path) -> None:
    """5xx, 408, 429, a lost connection, broken JSON, no or half a choice: asked again, counted."""
    with StubServer() as server:
        server.faults.extend([fault, fault])
        got, totals = use(server, complete(ask()), cache=tmp_path / "c")
    assert got.text.startswith("reply ")
    assert (len(server.bodies), totals.requests, totals.retries, totals.failed) == (3, 3, 2, 0)


@pytest.mark.parametrize(
    ("fault", "kind", "sent"),
    [
        (stub.status(500), "outage", 3),
        (stub.status(429), "rate_limit", 6),
        (stub.truncated, "garbled", 3),
        (stub.nested, "garbled", 3),
        (stub.no_http, "garbled", 3),
        (stub.no_utf8, "garbled", 3),
        (stub.hang, "timeout", 3),
        (stub.dropped, "outage", 3),
        (GIVEN_UP, "outage", 3),
        (stub.status(429, headers={"Retry-After": "86400"}), "rate_limit", 1),
        (stub.status(400, message="messages: wrong"), "bad_request", 1),
        (stub.status(422), "bad_request", 1),
        (stub.status(400, code="context_length_exceeded"), "context", 1),
        (stub.status(400, message="maximum context length is 9 tokens"), "context", 1),
        (stub.status(400, code="content_filter"), "content_filter", 1),
    ],
)
def test_a_failure_has_its_kind_and_its_number_of_attempts(
    fault: stub.Reply, kind: str, sent: int
) -> None:
    """What may pass is sent `max_attempts` times, a 429 twice as often, what cannot pass once."""
    with StubServer() as server:
        server.faults.extend([fault] * 6)
        error, totals = use(server, failing(ask()), timeout_s=0.2)
    assert error.kind == kind
    assert error.transient == (kind in {"outage", "rate_limit", "garbled", "timeout"})
    assert (len(server.bodies), totals.requests, totals.failed) == (sent, sent, 1)
    assert totals.failures == {kind: sent}


@pytest.mark.parametrize(
    ("fault", "start"),
    [
        (stub.page, "this: <html>It works!</html>; "),
        (stub.written(""), "nothing; "),
        (
            stub.written("<p>\x1b[31m\n" + 200 * "z"),
            r"what is no JSON: <p>\x1b[31m\n" + 91 * "z" + " ...; ",
        ),
        (
            stub.written('{"detail": "no\\u001b", "é": 1}'),
            r'this: {"detail": "no\u001b", "é": 1}; ',
        ),
        (stub.written('{"choices": []}'), 'this: {"choices": []}; '),
        (stub.written("[1, 2]"), "this: [1, 2]; "),
        (stub.nested, "what is no JSON (maximum recursion depth exceeded"),
        (stub.no_http, "what is no HTTP (400, message="),
        (stub.no_utf8, 'what is no UTF-8: {"text": "Yes\\xff"}; '),
    ],
)
def test_what_is_no_model_server_is_named_with_what_it_said(fault: stub.Reply, start: str) -> None:
    """The URL, the first 100 characters of the answer, harmless, and what the URL may lack."""
    with StubServer() as server:
        server.faults.extend([fault] * 3)
        error, _ = use(server, failing(ask()))
        assert error.message.startswith(f"{server.url} answered no chat completion but {start}")
    assert error.kind == "garbled"
    assert error.message.endswith(
        "; check base_url: that of an OpenAI-compatible API usually ends in /v1"
    )


def test_a_file_server_is_no_api() -> None:
    """It takes no POST, which is no outage: URL, answer and what to check are told."""
    with ThreadingHTTPServer(("127.0.0.1", 0), SimpleHTTPRequestHandler) as files:
        threading.Thread(target=files.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{files.server_port}/docs"
        with pytest.raises(UsageError) as failure:
            use(url, complete(ask()))
        files.shutdown()
    assert str(failure.value) == (
        f"no OpenAI-compatible API at {url}: a question to /docs/chat/completions is answered "
        "with HTTP 501 (Unsupported method ('POST')); check base_url: that of an "
        "OpenAI-compatible API usually ends in /v1"
    )


def test_an_api_that_does_not_do_something_is_an_api() -> None:
    """A 501 with a reason, as llama.cpp gives it, and one after an answer blame no URL."""
    refused = stub.status(501, message="This server does not support it")
    with StubServer() as server:
        server.faults.extend([refused] * 3)
        error, _ = use(server, failing(ask()))
        assert (error.kind, error.message) == ("outage", "This server does not support it")

        async def after_an_answer(model: ChatModel) -> CallError:
            await model.complete(ask("answered"))
            server.faults.extend([no_post] * 3)
            return await failing(ask("not"))(model)

        error, _ = use(server, after_an_answer)
    assert error.kind == "bad_request"


async def no_post(_: Body) -> web.StreamResponse:
    """Take no POST, as a web framework does of a path that is for GET."""
    return web.json_response({"detail": "Method Not Allowed"}, status=405)


def test_retry_after_holds_back_every_request() -> None:
    """While one question was told to wait, another that follows waits as well."""

    async def both(model: ChatModel) -> None:
        await asyncio.gather(model.complete(ask("refused")), model.complete(ask("next")))

    with StubServer() as server:
        server.faults.append(stub.status(429, headers={"Retry-After": "0.3"}))
        use(server, both, max_in_flight=1)
    refused, *later = server.arrivals
    assert len(later) == 2
    assert min(later) - refused >= 0.3


@pytest.mark.parametrize(
    ("until", "seconds"),
    [
        ("Wed, 21 Oct 2015 07:28:00 GMT", 60.0),
        ("Wed, 21 Oct 2015 07:26:00 GMT", 0.0),
        ("Wed, 21 Oct 2015 07:28:00 -0000", 60.0),
        ("Wed, 32 Oct 2015 07:28:00 GMT", None),
        ("soon", None),
    ],
)
def test_retry_after_may_be_a_date(until: str, seconds: float | None) -> None:
    """It is one of the server's clock, whatever this machine's says."""
    headers = {"Retry-After": until, "Date": "Wed, 21 Oct 2015 07:27:00 GMT"}
    with StubServer() as server:
        server.faults.append(stub.status(503, headers=headers))
        error, _ = use(server, failing(ask()), max_attempts=1)
    assert error.retry_after == seconds


def test_n_is_split_to_what_the_server_takes() -> None:
    """A llama.cpp of four slots gets five draws as 4 + 1; it is known before the first refusal."""
    with StubServer(llama_slots=4) as server:
        got, totals = use(server, complete(ask(samples=range(5))))
    assert len(got.choices) == 5
    assert [body.get("n") for body in server.bodies] == [4, None]
    assert totals.samples == 5


def test_a_refused_n_is_learned_once() -> None:
    """The limit read from a 400 holds for later questions."""

    async def limited(body: stub.Body) -> Any:  # noqa: ANN401
        if body.get("n", 1) > 2:
            return await stub.status(400, message="'n' must be at most 2")(body)
        return await stub.answer(body)

    async def twice(model: ChatModel) -> list[Completion]:
        return [await model.complete(ask(t, samples=range(3))) for t in ("a", "b")]

    with StubServer(limited) as server:
        got, _ = use(server, twice)
    assert [len(c.choices) for c in got] == [3, 3]
    assert [body.get("n", 1) for body in server.bodies] == [3, 2, 1, 2, 1]


def test_fewer_choices_are_topped_up() -> None:
    """Ollama ignores n: each missing draw is asked for, with its own seed."""
    with StubServer(stub.at_most(1)) as server:
        got, _ = use(server, complete(ask(samples=range(3), seed=7, temperature=1.0)))
    assert len(got.choices) == 3
    assert [body["seed"] for body in server.bodies] == [7, 8, 9]


@pytest.mark.parametrize("parameter", ["temperature", "seed", "logprobs"])
def test_a_refused_parameter_is_left_out_from_then_on(parameter: str) -> None:
    """One 400 per model, not one per row."""

    async def three(model: ChatModel) -> None:
        for text in "abc":
            await model.complete(ask(text, seed=1, top_logprobs=2))

    with StubServer(stub.refuses(parameter)) as server:
        _, totals = use(server, three)
    assert [parameter in body for body in server.bodies] == [True, False, False, False]
    assert (totals.requests, totals.retries) == (4, 0)


def test_a_refusal_in_the_form_of_fastapi_teaches_as_well() -> None:
    """422 with the place of the parameter: one refusal, then it is left out."""

    async def strict(body: stub.Body) -> web.StreamResponse:
        if "logprobs" not in body:
            return await stub.answer(body)
        extra = {
            "type": "extra_forbidden",
            "loc": ["body", "logprobs"],
            "msg": "Extra inputs are not permitted",
            "input": {"temperature": 0.0},
        }
        return web.json_response({"detail": [extra]}, status=422)

    with StubServer(strict) as server:
        use(server, complete(ask(top_logprobs=2)))
    assert ["logprobs" in body for body in server.bodies] == [True, False]
    assert "temperature" in server.bodies[1]


def test_a_server_that_refuses_every_form_is_not_asked_for_ever() -> None:
    """It blames whichever name of the limit it got, and names the other: a failure of the row."""

    async def neither(body: stub.Body) -> web.StreamResponse:
        name = "max_tokens" if "max_tokens" in body else "max_completion_tokens"
        said = "max_tokens or max_completion_tokens must be at least 16"
        error = {"message": said, "param": name, "type": "invalid_request_error", "code": None}
        return web.json_response({"error": error}, status=400)

    async def patiently(model: ChatModel) -> CallError:
        async with asyncio.timeout(30):
            return await failing(ask())(model)

    with StubServer(neither) as server:
        error, totals = use(server, patiently)
    assert (error.kind, totals.requests) == ("bad_request", 16)


def test_capabilities_tell_whether_probabilities_come() -> None:
    """Unknown before the first reply, then as the server does; known at once for llama.cpp."""

    async def look(model: ChatModel) -> list[bool | None]:
        before = model.capabilities.logprobs
        await model.complete(ask("Reply with one word: Yes or No.", top_logprobs=2))
        return [before, model.capabilities.logprobs]

    with StubServer() as server:
        assert use(server, look)[0] == [None, True]
    with StubServer(stub.says(stub.text_choice("Yes"))) as server:
        assert use(server, look)[0] == [None, False]
    with StubServer(llama_slots=2) as server:
        assert use(server, look)[0] == [True, True]


def test_every_billed_token_is_counted_and_priced() -> None:
    """Also those of a reply that could not be used."""
    with StubServer() as server:
        server.faults.append(stub.says())
        prices = {"input": 1e6, "output": 10e6}
        _, totals = use(server, complete(ask()), price_per_mtok=prices)
    assert totals.usage == Usage(prompt=20, completion=2)
    assert totals.usd == pytest.approx(20 + 20)


def test_a_cut_answer_is_billed_once(tmp_path: Path) -> None:
    """`length` and `content_filter` are answers: kept with their finish reason."""
    with StubServer() as server:
        for reason in ("length", "content_filter"):
            server.faults.append(stub.says(stub.text_choice("", finish_reason=reason)))
            for _ in range(2):
                got, _ = use(server, complete(ask(reason)), cache=tmp_path / "c")
                assert got.choices[0].finish_reason == reason
    assert len(server.bodies) == 2


def test_nobody_at_the_address() -> None:
    """One line with the URL and what to try, before any row is touched."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
        with pytest.raises(UnreachableError) as failure:
            use(url, complete(ask()))
    assert url in str(failure.value)
    assert "ollama serve" in str(failure.value)
    assert "\n" not in str(failure.value)


def test_a_server_that_dies_stops_the_stage() -> None:
    """After a few lost questions in a row the error is the run's, not a row's."""

    async def work(model: ChatModel) -> list[str]:
        await model.complete(ask("before"))
        server.__exit__()
        kinds = []
        for i in range(GONE_AFTER):
            with pytest.raises((CallError, UnreachableError)) as failure:
                await model.complete(ask(str(i)))
            kinds.append(type(failure.value).__name__)
        return kinds

    server = StubServer().__enter__()
    kinds, totals = use(server, work)
    assert kinds == ["CallError"] * (GONE_AFTER - 1) + ["UnreachableError"]
    assert totals.requests == 1 + 3 * GONE_AFTER


def test_an_unknown_model_is_answered_with_those_there_are() -> None:
    """A 404 stops the run and lists /v1/models; without any API the URL is blamed."""
    with StubServer(stub.status(404)) as server:
        with pytest.raises(UsageError, match="no model 'stubb'; it has other, stub"):
            use(server, complete(ask()), model="stubb")
        with pytest.raises(UsageError, match="usually ends in /v1"):
            use(server.url.removesuffix("/v1"), complete(ask()))


def test_a_refused_key_stops_the_run_and_stays_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The variable is named; the key is in no message, log line or file, though servers echo it."""
    monkeypatch.setenv("STUB_KEY", KEY)
    echo = stub.status(401, message=f"Incorrect API key provided: {KEY}")
    caplog.set_level(logging.DEBUG)
    with StubServer() as server:
        use(server, complete(ask("good")), cache=tmp_path / "c", api_key_env="STUB_KEY")
        server.faults.append(echo)
        with pytest.raises(RunFailedError, match="STUB_KEY") as failure:
            use(server, complete(ask()), cache=tmp_path / "c", api_key_env="STUB_KEY")
        assert server.keys == [KEY, KEY]
    written = [p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()]
    assert written
    assert not [text for text in written if KEY.encode() in text]
    assert KEY not in str(failure.value)
    assert KEY not in caplog.text


def test_an_openai_key_in_the_environment_is_sent_to_openai_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A local server sees a placeholder, and OPENAI_BASE_URL moves nothing."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:1/v1")
    with StubServer() as server:
        use(server, complete(ask()))
    assert server.keys == ["none"]


class HeadersHeard(LoopbackServer):
    """Keeps the headers of whatever it is asked, as text."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[str] = []

    def _app(self) -> web.Application:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        return app

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.heard.append(str(request.headers))
        return web.json_response(stub.completion({}, [stub.text_choice("a")], data=[]))


def test_headers_of_the_environment_go_to_openai_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK would add them, a key among them, to what any other server is asked."""
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", f"X-Mine: {KEY}\nAuthorization: Bearer {KEY}")

    async def asked_for_batches(settings: ModelSettings) -> None:
        chat = client_of(settings)
        await chat.sdk.batches.list(limit=1)
        await chat.close()

    with HeadersHeard() as server:
        use(server.url, complete(ask()))
        asyncio.run(asked_for_batches(ModelSettings(model="stub", base_url=server.url)))
    assert len(server.heard) == 3
    assert not [headers for headers in server.heard if KEY in headers]


def test_a_proxy_that_is_no_url_is_a_usage_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names the variables, and nothing of the password that stands in one."""
    monkeypatch.setenv("HTTPS_PROXY", "http://user:se/cret@proxy.example:8080")
    with pytest.raises(UsageError, match=r"HTTPS_PROXY .* is no URL") as refused:
        client_of(ModelSettings(model="stub", base_url="http://127.0.0.1:9/v1"))
    assert "cret" not in str(refused.value)
    assert "'se" not in str(refused.value)
    assert refused.value.__suppress_context__


def test_openai_without_a_key_is_a_usage_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names the variable to set; nothing is sent."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    settings = ModelSettings(model="gpt-4o-mini")
    with pytest.raises(UsageError, match="OPENAI_API_KEY"):
        asyncio.run(open_model(settings, cache_path=None, meter=Meter()))


def test_a_forbidden_row_is_not_a_forbidden_key() -> None:
    """A 403 on the first question stops the run; later, it is that row's failure."""

    async def late(model: ChatModel) -> CallError:
        await model.complete(ask("fine"))
        server.faults.append(stub.status(403))
        return await failing(ask("flagged"))(model)

    with StubServer() as server:
        assert use(server, late)[0].kind == "auth"
        server.faults.append(stub.status(403))
        with pytest.raises(RunFailedError, match="api_key_env"):
            use(server, complete(ask()))


@pytest.mark.parametrize(
    "refusal",
    [stub.status(429, code="insufficient_quota"), stub.status(402, code=402, message="no credits")],
)
def test_an_empty_account_stops_the_run(refusal: stub.Reply) -> None:
    """OpenAI's 429 `insufficient_quota`, and the 402 of others: neither passes, nor is of a row."""
    empty = StubServer(refusal)
    with empty as server, pytest.raises(RunFailedError, match="no quota or credit left"):
        use(server, complete(ask()))
    assert len(server.bodies) == 1
