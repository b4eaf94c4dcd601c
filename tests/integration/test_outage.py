"""What a run does when its server refuses, slows it down or fails altogether."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

import stub_server as stub
from clear_pipeline import Pipeline, build_config
from clear_pipeline.errors import CircuitOpenError
from clear_pipeline.llm.base import ChatModel, ChatRequest
from clear_pipeline.llm.meter import Meter
from clear_pipeline.llm.open import open_model
from clear_pipeline.llm.settings import ModelSettings
from clear_pipeline.report import views
from clear_pipeline.run import Run
from clear_pipeline.schema import Fate, Message
from clear_pipeline.stages.base import SilentProgress
from stub_server import Body, StubServer

ROWS = 120


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    rows = [{"prompt": f"What is {n} + 1?", "completion": str(n + 1)} for n in range(ROWS)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def run(data: Path, server: StubServer, out: Path) -> tuple[Run, list[str]]:
    """Score the rows, with one attempt after the other at once."""
    scorer = {"model": "stub", "base_url": server.url, "backoff_s": 1e-3, "max_in_flight": 8}
    config = build_config(
        flags={"models": {"scorer": scorer}, "load": {"shard_rows": 50}},
        stages=["score"],
        preset="fast",
        assignments=["score.likelihood_weight=0", "score.weights={yes_no: 1.0}"],
    )
    progress = SilentProgress()
    return Pipeline(config, progress=progress).run(data, out=out), progress.notes


def failing_after(count: int, code: int) -> Callable[[Body], Awaitable[web.StreamResponse]]:
    """A service that goes down."""
    served: Iterator[int] = itertools.count()

    async def reply(body: Body) -> web.StreamResponse:
        if next(served) < count:
            return await stub.answer(body)
        return await stub.status(code, message="overloaded")(body)

    return reply


@pytest.mark.parametrize(("code", "kind"), [(503, "outage"), (429, "rate_limit")])
def test_an_outage_marks_no_row(data: Path, tmp_path: Path, code: int, kind: str) -> None:
    """The run stops with the cause; once the service is back, the same run has every row scored."""
    out = tmp_path / "run"
    with StubServer(failing_after(70, code)) as server:
        with pytest.raises(CircuitOpenError) as failure:
            run(data, server, out)
        answered = len(server.bodies)
        said = str(failure.value)
        assert f"questions to stub got no answer (5 {kind})" in said
        assert "overloaded" in said
        server._reply = stub.answer
        finished, _ = run(data, server, out)
        asked_later = len(server.bodies) - answered
    fates = finished.ledger(["fate"])["fate"].to_pylist()
    assert fates == [Fate.KEPT] * ROWS
    assert asked_later <= ROWS - 50  # the first shard was done; of the second, answers were kept


def test_what_failed_on_the_way_is_counted(data: Path, tmp_path: Path) -> None:
    """By kind, in the manifest and in one line at the end; a run without failures says nothing."""
    with StubServer() as server:
        server.faults.extend([stub.status(503), stub.status(429), stub.status(429), stub.truncated])
        finished, notes = run(data, server, tmp_path / "run")
        _, calm = run(data, server, tmp_path / "calm")
    expected = {"garbled": 1, "outage": 1, "rate_limit": 2}
    assert finished.manifest.usage["stub"]["failures"] == expected
    assert views.status_json(finished)["usage"]["stub"]["failures"] == expected
    line = "4 requests failed (1 garbled, 1 outage, 2 rate_limit); 0 questions got no answer"
    assert line in notes
    assert not [note for note in calm if "failed" in note]


def ask(server: StubServer, count: int, **settings: Any) -> None:  # noqa: ANN401
    """Ask so many questions at once."""

    async def session() -> None:
        chosen = ModelSettings(model="stub", base_url=server.url, **settings)
        model: ChatModel = await open_model(chosen, cache_path=None, meter=Meter())
        requests = (ChatRequest((Message("user", str(n)),), 1, 0.0) for n in range(count))
        await asyncio.gather(*(model.complete(request) for request in requests))
        await model.close()

    asyncio.run(session())


def test_requests_leave_at_the_rate_of_the_settings() -> None:
    """1,200 a minute: ten requests take 0.45 s at least."""
    with StubServer() as server:
        ask(server, 10, requests_per_minute=1200)
    assert server.arrivals[-1] - server.arrivals[0] >= 0.3


def test_requests_leave_at_the_rate_of_the_headers() -> None:
    """The first ones teach: with a twentieth of a second per request, eight more take 0.35 s."""

    async def limited(body: Body) -> web.StreamResponse:
        headers = {
            "X-RateLimit-Limit-Requests": "1200",
            "X-RateLimit-Remaining-Requests": "1000",
            "X-RateLimit-Reset-Requests": "50s",
        }
        return web.json_response(stub.completion(body), headers=headers)

    with StubServer(limited) as server:
        ask(server, 16)
    assert server.arrivals[15] - server.arrivals[8] >= 0.2
