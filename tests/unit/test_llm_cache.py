"""Answers are kept per sample and never asked twice."""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest

from clear_pipeline.errors import CallError, DamagedRunError, UnwritableError
from clear_pipeline.llm.answers import Answer, Answers
from clear_pipeline.llm.base import OMIT, ChatRequest, Choice, Completion, Token, Usage
from clear_pipeline.llm.cache import Cached, question_hash
from clear_pipeline.llm.counted import Counted
from clear_pipeline.llm.meter import Meter, Totals
from clear_pipeline.llm.scripted import ScriptedChat, uniform
from clear_pipeline.schema import Message

T = TypeVar("T")
ASK = ChatRequest((Message("user", "q"),), 8, 1.0, seed=0)


def script(request: ChatRequest, sample: int) -> Choice:
    value = -uniform(request, sample)
    token = Token("t", value, (("t", value), ("é\ud800", value - 1)))
    return Choice(f"draw {sample}", "length", (token,), '[{"a":1}]', "thought")


def use(
    model: ScriptedChat, path: Path, work: Callable[[Cached], Awaitable[T]]
) -> tuple[T, Totals]:
    """Open the cache, work with it, close it: one session of a run."""

    async def session() -> tuple[T, Totals]:
        meter = Meter()
        cached = Cached(model, path=path, meter=meter)
        try:
            return await work(cached), meter.snapshot()
        finally:
            await cached.close()

    return asyncio.run(session())


def test_a_later_session_gets_the_same_answer_without_a_call(tmp_path: Path) -> None:
    """Text, log-probabilities, tool calls, reasoning, model and usage come back as they were."""
    model = ScriptedChat(script)
    asked = ASK.with_samples(range(3))
    first, paid = use(model, tmp_path / "c", lambda m: m.complete(asked))
    again, free = use(model, tmp_path / "c", lambda m: m.complete(asked))
    assert again == first
    assert len(model.requests) == 1
    assert (paid.samples, paid.cached_samples) == (3, 0)
    assert (free.samples, free.cached_samples) == (0, 3)


def test_only_missing_samples_are_asked(tmp_path: Path) -> None:
    """With 2..3 known, 0..5 asks for 0..1 and 4..5."""
    model = ScriptedChat(script)
    use(model, tmp_path / "c", lambda m: m.complete(ASK.with_samples(range(2, 4))))
    got, _ = use(model, tmp_path / "c", lambda m: m.complete(ASK.with_samples(range(6))))
    assert [c.text for c in got.choices] == [f"draw {i}" for i in range(6)]
    assert [r.samples for r in model.requests] == [range(2, 4), range(2), range(4, 6)]


def test_what_changes_the_answer_changes_the_question() -> None:
    """Each field of a request is part of the key, and OMIT is not 0."""
    others = [
        replace(ASK, messages=(Message("system", "q"),)),
        replace(ASK, messages=(Message("user", "q", name="n"),)),
        replace(ASK, max_output_tokens=9),
        replace(ASK, temperature=0.0),
        replace(ASK, temperature=OMIT),
        replace(ASK, seed=1),
        replace(ASK, seed=OMIT),
        replace(ASK, top_logprobs=0),
        replace(ASK, top_logprobs=1),
        replace(ASK, stop=("x",)),
        replace(ASK, tools="[]"),
        replace(ASK, response_format="{}"),
        replace(ASK, grammar="g"),
        replace(ASK, score_from=0),
    ]
    hashes = {question_hash("m", request) for request in [ASK, *others]}
    assert len(hashes) == len(others) + 1
    assert question_hash("other", ASK) not in hashes
    assert question_hash("m", ASK.with_samples(range(5))) == question_hash("m", ASK)


def test_equal_questions_in_flight_share_one_call(tmp_path: Path) -> None:
    """Fifty rows with one prompt cost one call, also while it is open."""

    class Slow(ScriptedChat):
        async def complete(self, request: ChatRequest) -> Completion:
            await asyncio.sleep(0)
            return await super().complete(request)

    async def together(cached: Cached) -> set[str]:
        return {c.text for c in await asyncio.gather(*(cached.complete(ASK) for _ in range(50)))}

    model = Slow(script)
    got, totals = use(model, tmp_path / "c", together)
    assert got == {"draw 0"}
    assert len(model.requests) == 1
    assert (totals.samples, totals.cached_samples) == (1, 49)


def test_a_failed_call_is_not_remembered(tmp_path: Path) -> None:
    """An outage is asked again by the next session; what was answered before it is kept."""

    def failing(request: ChatRequest, sample: int) -> Choice:
        raise CallError("outage", "down", transient=True)

    use(ScriptedChat(script), tmp_path / "c", lambda m: m.complete(ASK))
    down = ScriptedChat(failing)
    with pytest.raises(CallError):
        use(down, tmp_path / "c", lambda m: m.complete(ASK.with_samples(range(2))))
    back = ScriptedChat(script)
    use(back, tmp_path / "c", lambda m: m.complete(ASK.with_samples(range(2))))
    assert [r.samples for r in back.requests] == [range(1, 2)]


def test_a_server_that_gives_few_choices_is_asked_until_all_are_there() -> None:
    """The usage of all replies adds up."""

    class OneAtATime(ScriptedChat):
        async def complete(self, request: ChatRequest) -> Completion:
            return await super().complete(request.with_samples(request.samples[:1]))

    model = OneAtATime(lambda _, sample: f"draw {sample}")
    cached = Cached(model, path=None, meter=Meter())
    got = asyncio.run(cached.complete(ASK.with_samples(range(3))))
    asyncio.run(cached.close())
    assert [c.text for c in got.choices] == ["draw 0", "draw 1", "draw 2"]
    assert got.usage == Usage(prompt=3, completion=6)


def test_a_model_that_gives_no_choice_is_asked_once() -> None:
    """Else it would be asked for ever: the row fails instead."""

    class Mute(ScriptedChat):
        async def complete(self, request: ChatRequest) -> Completion:
            self.requests.append(request)
            return Completion((), "mute")

    model = Mute(script)
    cached = Cached(model, path=None, meter=Meter())
    with pytest.raises(CallError, match="garbled: the reply holds no choices"):
        asyncio.run(cached.complete(ASK))
    asyncio.run(cached.close())
    assert len(model.requests) == 1


@pytest.mark.parametrize("tokens", [None, ()])
def test_no_probabilities_and_unusable_ones_stay_apart(
    tmp_path: Path, tokens: tuple[Token, ...] | None
) -> None:
    """What came is what comes back."""
    model = ScriptedChat(lambda r, i: Choice("Yes", "stop", tokens))
    for _ in range(2):
        got, _ = use(model, tmp_path / "c", lambda m: m.complete(ASK))
        assert got.choices[0].tokens == tokens


def test_what_goes_through_a_counted_model_is_summed() -> None:
    """None before the first answer; a model counted twice is told apart."""
    model = ScriptedChat(lambda r, i: "two words")
    first, second = Counted(model), Counted(model)
    asyncio.run(first.complete(ASK.with_samples(range(2))))
    asyncio.run(first.complete(ASK))
    assert first.usage == Usage(prompt=2, completion=6)
    assert second.usage is None
    assert (first.identity, first.capabilities) == (model.identity, model.capabilities)


def _change(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(statement)


@pytest.mark.parametrize("damage", ["value = x'7b7d'", "checksum = ''", "value = 'text'"])
def test_a_damaged_answer_is_asked_again(tmp_path: Path, damage: str) -> None:
    """A flipped bit costs one call, not a wrong score, and is mended by it."""
    model = ScriptedChat(script)
    first, _ = use(model, tmp_path / "c", lambda m: m.complete(ASK))
    _change(tmp_path / "c", f"UPDATE answers SET {damage}")
    again, _ = use(model, tmp_path / "c", lambda m: m.complete(ASK))
    use(model, tmp_path / "c", lambda m: m.complete(ASK))
    assert again == first
    assert len(model.requests) == 2


def test_a_file_that_is_no_cache_is_named(tmp_path: Path) -> None:
    """The message says which file, and what the same command does about it."""
    path = tmp_path / "llm-cache.sqlite"
    path.write_bytes(b"not a database" * 100)
    with pytest.raises(DamagedRunError, match=r"llm-cache\.sqlite.*the next run .* sets it aside"):
        use(ScriptedChat(script), path, lambda m: m.complete(ASK))


def test_a_write_that_fails_half_way_leaves_nothing(tmp_path: Path) -> None:
    """Of two answers neither is stored if the second cannot be, and the next write goes through."""
    usage = Usage(prompt=1, completion=1)
    first, second = (Answer(Choice(f"draw {i}", "stop"), "m", usage) for i in range(2))
    with closing(Answers(tmp_path / "c")) as answers:
        _change(
            tmp_path / "c",
            "CREATE TRIGGER full BEFORE INSERT ON answers WHEN (SELECT count(*) FROM answers) = 1"
            " BEGIN SELECT RAISE(ABORT, 'the disk is full'); END",
        )
        with pytest.raises(UnwritableError, match="the disk is full"):
            answers.write("q", {0: first, 1: second})
        assert answers.read("q", range(2)) == {}
        answers.write("q", {1: second})
    with closing(Answers(tmp_path / "c")) as answers:
        assert answers.read("q", range(2)) == {1: second}


def test_answers_that_nobody_waited_for_and_no_disk_took_are_told_of(tmp_path: Path) -> None:
    """Whoever asked is cancelled in the turn in which the answer comes; closing tells why."""
    path, answered = tmp_path / "c", asyncio.Event()

    async def leave(cached: Cached) -> None:
        _change(
            path,
            "CREATE TRIGGER full BEFORE INSERT ON answers"
            " BEGIN SELECT RAISE(ABORT, 'the disk is full'); END",
        )
        asked = asyncio.create_task(cached.complete(ASK))
        await answered.wait()
        asked.cancel()
        await asyncio.wait([asked])

    def telling(request: ChatRequest, sample: int) -> Choice:
        answered.set()
        return script(request, sample)

    with pytest.raises(UnwritableError, match="the disk is full"):
        use(ScriptedChat(telling), path, leave)


def test_an_answer_is_on_disk_before_it_is_handed_on(tmp_path: Path) -> None:
    """Another connection sees it while the cache is still open."""

    async def peek(cached: Cached) -> Any:  # noqa: ANN401
        await cached.complete(ASK)
        with closing(sqlite3.connect(tmp_path / "c")) as db:
            return db.execute("SELECT count(*) FROM answers").fetchone()[0]

    stored, _ = use(ScriptedChat(script), tmp_path / "c", peek)
    assert stored == 1
