"""The stage `embed`: vectors worked out by hand, what fails, and the package's word vectors."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from threading import Barrier
from typing import Any

import numpy as np
import pytest

from clear_pipeline.config import build_config
from clear_pipeline.errors import CallError, ConfigError, MissingExtraError, TooManyFailuresError
from clear_pipeline.ledger import ledger_schema
from clear_pipeline.llm.base import ChatModel, ChatRequest
from clear_pipeline.llm.scripted import ScriptedChat
from clear_pipeline.schema import Example, Message, is_working, rows_table
from clear_pipeline.scoring import word_vectors
from clear_pipeline.scoring.passages import windows
from clear_pipeline.scoring.word_vectors import load_word_vectors
from clear_pipeline.stages.base import AskingStage, Context, Shard, Stage
from clear_pipeline.stages.embed import COLUMNS, NO_TEXT, Embed
from clear_pipeline.stages.failures import FailureTally

semantic = pytest.mark.skipif(
    find_spec("wordllama") is None, reason="needs the extra `semantic`: wordllama"
)

VECTORS = {"cat": [2, 0], "dog": [0, 5], "bird": [3, 4], "nothing": [0, 0], "long": [1, 2, 3]}


def row(prompt: str, response: str, *, unscorable: str | None = None) -> Example:
    return Example(
        id=f"a:{prompt}",
        file="a",
        line=1,
        format="chat",
        messages=(Message("user", prompt),),
        target=Message("assistant", response),
        original="{}",
        unscorable=unscorable,
    )


def said(request: ChatRequest, _: int) -> str:
    text = request.messages[0].text
    if text == "fail":
        raise CallError("context", "too long", transient=False)
    return json.dumps(VECTORS[text])


def annotated(
    stage: Embed, rows: list[Example], *, alive: list[bool] | None = None, total: int = 100
) -> list[dict[str, Any]]:
    models: dict[str, ChatModel] = {"embedder": ScriptedChat(said)}
    ctx = Context(models=models, tally=FailureTally(total))
    shard = Shard("s", rows_table(rows))
    table = asyncio.run(stage.annotate(shard, alive or [True] * len(rows), None, ctx))
    assert table.schema == stage.adds()
    found: list[dict[str, Any]] = table.to_pylist()
    return found


@pytest.mark.parametrize(
    ("text", "expected"),
    [("prompt", [1, 0]), ("response", [0.6, 0.8]), ("both", [0.70710, 0, 0.42426, 0.56569])],
)
def test_a_vector_has_length_one_and_both_texts_weigh_the_same(
    text: str, expected: list[float]
) -> None:
    """Prompt [2, 0], response [3, 4]: both are scaled to 1, then their pair is."""
    stage = Embed.model_validate({"text": text, "via": "endpoint"})
    (found,) = annotated(stage, [row("cat", "bird")])
    assert found["embedding"] == pytest.approx(expected, abs=1e-3)
    assert found["embed_error"] is None
    calls = 2 if text == "both" else 1
    assert found["embed_usage"]["calls"] == calls


def test_long_texts_are_the_mean_of_their_passages_by_length() -> None:
    """Two passages of 101 and 99 characters, along two axes: (101, 99) scaled to length 1."""
    first, second = "a" * 100 + ".", "b" * 98 + "."
    vectors = {first: "[1, 0]", second: "[0, 7]"}
    model = ScriptedChat(lambda r, i: vectors[r.messages[0].text])
    stage = Embed(text="response", via="endpoint", passage_chars=110)
    shard = Shard("s", rows_table([row("p", f"{first} {second}")]))
    ctx = Context(models={"embedder": model})
    (found,) = asyncio.run(stage.annotate(shard, [True], None, ctx)).to_pylist()
    length = np.hypot(101, 99)
    assert found["embedding"] == pytest.approx([101 / length, 99 / length], abs=1e-3)


def test_dead_rows_and_images_have_no_vector() -> None:
    """A dead row has nothing and costs no call; an image says why."""
    rows = [row("cat", "cat"), row("dog", "dog", unscorable="image"), row("bird", "cat")]
    dead, image, there = annotated(Embed(via="endpoint"), rows, alive=[False, True, True])
    assert list(dead.values()) == [None, None, None]
    assert list(image.values()) == [None, "image", None]
    assert there["embedding"] is not None


def test_a_failed_row_has_its_reason_and_the_others_go_on() -> None:
    """Also where the vectors of a row cannot stand side by side, or there is no direction."""
    rows = [row("cat", "fail"), row("cat", "long"), row("nothing", "nothing"), row("cat", "dog")]
    failed, uneven, empty, fine = annotated(Embed(via="endpoint"), rows)
    assert failed["embed_error"] == "context: too long"
    assert uneven["embed_error"] == "bad_reply: embeddings of different lengths"
    assert empty["embed_error"] == NO_TEXT
    assert failed["embedding"] is uneven["embedding"] is empty["embedding"] is None
    assert fine["embedding"] == pytest.approx([0.70710, 0, 0, 0.70710], abs=1e-3)


def test_too_many_failures_stop_the_run() -> None:
    """Five of five rows that fail are more than 5 %."""
    stage = Embed(text="prompt", via="endpoint")
    with pytest.raises(TooManyFailuresError, match="embed: 5 of 5 rows failed"):
        annotated(stage, [row("fail", "x")] * 5, total=5)


def test_the_vector_stays_out_of_the_ledger_and_the_reason_does_not() -> None:
    """Declared with the column, not by its name."""
    extra = ledger_schema(COLUMNS).names
    assert "embedding" not in extra
    assert {"embed_error", "embed_usage"} <= set(extra)
    assert [field.name for field in COLUMNS if is_working(field)] == ["embedding"]


def test_only_an_endpoint_is_a_model_that_is_asked() -> None:
    """The package's vectors take no role; an endpoint's need one, and the message names it."""
    assert isinstance(Embed(), Stage)
    assert isinstance(Embed(), AskingStage)
    assert Embed().roles() == ()
    assert Embed(via="endpoint").roles() == ("embedder",)
    with pytest.raises(ConfigError, match=r"models\.embedder"):
        build_config(stages=["embed"], assignments=["embed.via=endpoint"]).model_for("embedder")


@pytest.mark.parametrize(
    ("most", "expected"),
    [
        (100, ["One two. Three four five."]),
        (16, ["One two.", "Three four five."]),
        (10, ["One two.", "Three four", "five."]),
        (4, ["One", "two.", "Thre", "e", "four", "five", "."]),
    ],
)
def test_windows_hold_all_of_a_text(most: int, expected: list[str]) -> None:
    """They end at sentences where these fit, else after a word, else inside of one."""
    assert windows("One two. Three four five.", most) == expected
    assert windows("", most) == windows(" \n", most) == []


@semantic
def test_word_vectors_are_those_of_wordllama() -> None:
    """Its own pooling, in a process of its own, gives the same means at any length."""
    texts = ["The cat sat on the mat.", "naïve 東京 🙂", "word " * 5_000]
    code = (
        "import json, sys; from wordllama.inference import WordLlamaInference;"
        "from clear_pipeline.scoring.word_vectors import load_word_vectors;"
        "ours = load_word_vectors(); model = WordLlamaInference(ours.vectors, ours.tokenizer);"
        "print(json.dumps(model.embed(json.load(sys.stdin)).tolist()))"
    )
    told = subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps(texts), capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert load_word_vectors().means(texts) == pytest.approx(
        np.array(json.loads(told.stdout)), abs=1e-3
    )


@semantic
def test_threads_that_ask_at_once_share_the_word_vectors() -> None:
    """Four threads, before they were read: one object."""
    word_vectors._loaded.cache_clear()
    together = Barrier(4)

    def load(_: int) -> int:
        together.wait()
        return id(load_word_vectors())

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(load, range(4))) == {id(load_word_vectors())}


@semantic
def test_a_text_without_a_token_is_zeros_and_its_row_says_so() -> None:
    """An empty prompt leaves the response; nothing at all leaves no vector."""
    assert not load_word_vectors().means(["", "cat"])[0].any()
    half, none = (
        annotated(Embed(), [row("", "cat")]),
        annotated(Embed(text="prompt"), [row("", "x")]),
    )
    vector = np.array(half[0]["embedding"], float)
    assert not vector[:256].any()
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-3)
    assert none[0]["embed_error"] == NO_TEXT
    assert half[0]["embed_usage"] is None


def test_a_shard_without_a_row_to_embed_is_passed_over() -> None:
    """As where decontaminate has left nothing of it."""
    rows = [row("cat", "cat"), row("dog", "dog", unscorable="image")]
    dead, image = annotated(Embed(via="local"), rows, alive=[False, True])
    assert (dead["embedding"], image["embed_error"]) == (None, "image")


def test_a_missing_extra_names_the_pip_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before any row is embedded."""
    monkeypatch.setattr(word_vectors, "_PACKAGE", "no-such-package")
    word_vectors._loaded.cache_clear()
    with pytest.raises(MissingExtraError, match=r"pip install 'clear-pipeline\[semantic\]'"):
        annotated(Embed(), [row("cat", "dog")])
    word_vectors._loaded.cache_clear()
