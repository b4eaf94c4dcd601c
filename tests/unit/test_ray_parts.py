"""What the engine on Ray is made of, as far as it needs no Ray."""

from __future__ import annotations

import asyncio
import pickle
import socket
import sys
from pathlib import Path

import pytest

from clear_pipeline.config import build_config
from clear_pipeline.engine.cluster import connected
from clear_pipeline.engine.relay import Question, Relay, RelayedModel, Reply, Report, replied
from clear_pipeline.engine.worker import Hearing, Reporter
from clear_pipeline.errors import (
    BudgetExceededError,
    CallError,
    ClearPipelineError,
    ConfigError,
    MissingExtraError,
    PendingError,
    TooManyFailuresError,
    UnwritableError,
    UsageError,
)
from clear_pipeline.llm.base import Capabilities, ChatRequest
from clear_pipeline.llm.scripted import ScriptedChat
from clear_pipeline.schema import Message
from clear_pipeline.stages.base import Context, SilentProgress
from clear_pipeline.stages.failures import FailureTally

NOTHING = Report(rows=0, begun=0, failures=(), first=0, notes=(), found={})


def request(text: str) -> ChatRequest:
    return ChatRequest((Message("user", text),), max_output_tokens=1, temperature=0.0)


class Rows(SilentProgress):
    """Adds up the rows."""

    rows = 0

    def advance(self, rows: int = 1) -> None:
        self.rows += rows


@pytest.mark.parametrize(
    "error",
    [
        BudgetExceededError("cap", cap="max_usd", limit=1.0, needed=2.0, spent=0.5, projected=3.0),
        CallError("outage", "no answer", transient=True, retry_after=1.5),
        PendingError("waits"),
        UnwritableError("file", "full"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_is_the_same_in_another_process(error: ClearPipelineError) -> None:
    """Type, message and attributes cross, also where the class takes more than a message."""
    error.__dict__["learnt"] = True
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), vars(copy)) == (type(error), str(error), vars(error))


def test_questions_reach_the_owned_model_and_answers_who_asked() -> None:
    """Each question gets its own answer, whatever the order of the answers."""

    async def talk() -> list[str]:
        relay, models = Relay(), {"scorer": ScriptedChat(lambda r, _: r.messages[0].text.upper())}

        async def ask(role: str, asked: ChatRequest) -> Reply:
            return await relay.ask(Question("shard", role, asked, NOTHING))

        model = RelayedModel("scorer", "x", Capabilities(), ask)
        asked = [asyncio.create_task(model.complete(request(text))) for text in ("a", "b", "c")]
        await asyncio.sleep(0)
        for ticket, question in reversed(await relay.take()):
            await relay.answer(ticket, await replied(models, question))
        return [(await answer).text for answer in asked]

    assert asyncio.run(talk()) == ["A", "B", "C"]


def test_the_owned_models_error_is_raised_where_it_was_asked() -> None:
    """An error is an answer too; what the model offers by now comes with it."""
    model = ScriptedChat(_fails, capabilities=Capabilities(logprobs=False))

    async def ask(role: str, asked: ChatRequest) -> Reply:
        return await replied({role: model}, Question("shard", role, asked, NOTHING))

    relayed = RelayedModel("scorer", model.identity, Capabilities(), ask)
    with pytest.raises(CallError) as failed:
        asyncio.run(relayed.complete(request("?")))
    assert failed.value.kind == "auth"
    assert relayed.capabilities.logprobs is False


def _fails(_request: ChatRequest, _sample: int) -> str:
    raise CallError("auth", "no key", transient=False)


def test_a_shard_that_is_worked_on_again_is_counted_once() -> None:
    """2 rows and a failure before the worker died, 3 rows and 2 failures after: 3 and 2."""
    progress = Rows()
    hearing = Hearing(ctx := Context(progress=progress, tally=FailureTally(100)))
    first, again = Reporter({}), Reporter({})
    for reporter, rows in ((first, 2), (again, 3)):
        for row in range(rows):
            reporter.progress.advance()
            reporter.tally.begun += 1
            if row:
                reporter.tally.fail("score", f"row {row}", 1.0, kind="outage")
            hearing.hear("shard", reporter.report())
        reporter.progress.note("once")
        hearing.hear("shard", reporter.report())
    assert (progress.rows, ctx.tally.begun, ctx.tally._errors.total()) == (3, 3, 2)
    assert progress.notes == ["once"]


def test_failures_are_judged_over_all_shards() -> None:
    """Of four shards with two failures each, 5 of 8 rows begun are more than half."""
    hearing = Hearing(Context(tally=FailureTally(8)))

    def two_failures(key: str) -> None:
        reporter = Reporter({})
        for _ in range(2):
            reporter.tally.begun += 1
            reporter.tally.fail("score", "outage", 0.5, kind="outage")
        hearing.hear(key, reporter.report())

    two_failures("a")
    two_failures("b")
    with pytest.raises(TooManyFailuresError):
        two_failures("c")


def test_the_engine_is_a_setting_with_two_values() -> None:
    """Another word is refused with its place."""
    assert build_config(assignments=["engine.kind=ray"]).engine.kind == "ray"
    with pytest.raises(ConfigError, match=r"engine\.kind"):
        build_config(assignments=["engine.kind=spark"])


def test_a_missing_ray_is_told_with_the_pip_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing else of the package needs it."""
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'clear-pipeline\[ray\]'"):
        connected(None).__enter__()


def test_a_cluster_that_is_not_there_is_told_at_once() -> None:
    """Nothing listens at a port that was just given back."""
    pytest.importorskip("ray", reason="needs the extra `ray`")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(UsageError, match=f"no Ray cluster answers at 127.0.0.1:{port}"):
        connected(f"127.0.0.1:{port}").__enter__()


def test_an_address_of_ray_client_is_refused() -> None:
    """The process of a run is on a node of the cluster, where its files are."""
    pytest.importorskip("ray", reason="needs the extra `ray`")
    with pytest.raises(UsageError, match="expected HOST:PORT"):
        connected("ray://head").__enter__()


def test_a_ray_that_cannot_start_is_told_with_the_fix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The path of a socket has at most 107 bytes."""
    pytest.importorskip("ray", reason="needs the extra `ray`")
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path / ("long" * 25)))
    with pytest.raises(UsageError, match=r"Ray does not start .*RAY_TMPDIR"):
        connected("local").__enter__()
