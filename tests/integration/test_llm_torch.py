"""A directory of a model, served by torch behind the one seam."""

from __future__ import annotations

import asyncio
import errno
import json
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import httpx2
import pytest
from aiohttp import web
from openai import AsyncOpenAI
from typer.testing import CliRunner

torch = pytest.importorskip("torch", reason="the extra `train` is not installed")

from clear_pipeline.cli import app  # noqa: E402
from clear_pipeline.config import build_config  # noqa: E402
from clear_pipeline.errors import CallError  # noqa: E402
from clear_pipeline.finetune.lora.source import model_of, tokenizer_of  # noqa: E402
from clear_pipeline.llm.base import ChatModel, ChatRequest, Completion  # noqa: E402
from clear_pipeline.llm.cache import Cached  # noqa: E402
from clear_pipeline.llm.meter import Meter  # noqa: E402
from clear_pipeline.llm.open import known_capabilities, model_identity, open_model  # noqa: E402
from clear_pipeline.llm.settings import ModelSettings  # noqa: E402
from clear_pipeline.llm.tokens import counter_for  # noqa: E402
from clear_pipeline.llm.torch_server import TorchServer  # noqa: E402
from clear_pipeline.pipeline import Pipeline  # noqa: E402
from clear_pipeline.prompts.forced import length_request, scored_request  # noqa: E402
from clear_pipeline.schema import Message  # noqa: E402
from lora_rows import colours, trained, write  # noqa: E402
from tiny_llama import tiny_llama  # noqa: E402

T = TypeVar("T")
ASKED = (Message("user", "the colour of a?"),)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model of two layers."""
    folder = tmp_path_factory.mktemp("torch")
    tiny_llama(folder / "tiny.gguf").save_pretrained(folder / "base")
    tokenizer_of(folder / "tiny.gguf").save_pretrained(folder / "base")
    return folder / "base"


def asked(directory: Path, work: Callable[[ChatModel], Awaitable[T]]) -> T:
    """What comes of a piece of work with the model of a directory."""

    async def run() -> T:
        settings = ModelSettings(model=str(directory), backoff_s=0.001)
        model = await open_model(settings, cache_path=None, meter=Meter())
        try:
            return await work(model)
        finally:
            await model.close()

    return asyncio.run(run())


def request(**values: Any) -> ChatRequest:  # noqa: ANN401
    given = {"messages": ASKED, "max_output_tokens": 6, "temperature": 0.0, **values}
    return ChatRequest(**given)


def test_trainer_and_server_agree(tmp_path: Path) -> None:
    """Log-probabilities of the 20 likeliest tokens at each place are equal within 1e-2.

    The model was trained and written in 16 bits; the trainer reads it in 32.
    """
    tiny = tiny_llama(tmp_path / "tiny.gguf")
    tiny.save_pretrained(tmp_path / "base")
    tokenizer_of(tmp_path / "tiny.gguf").save_pretrained(tmp_path / "base")
    done = trained(tmp_path, base=str(tmp_path / "base"))
    directory = Path(done.model.model)
    assert done.model.base_url is None
    made = asked(directory, lambda model: model.complete(request(top_logprobs=20)))
    tokens = made.choices[0].tokens
    assert tokens
    tokenizer, model = tokenizer_of(directory), model_of(directory)
    prompt = "<s>user\nthe colour of a?</s>\n<s>assistant\n"
    ids = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    assert made.usage.prompt == len(ids)
    for token in tokens:
        with torch.no_grad():
            expected = torch.log_softmax(model(torch.tensor([ids])).logits[0, -1], dim=-1)
        values, likeliest = expected.topk(20)
        told = [logprob for _, logprob in token.top]
        assert told == pytest.approx(values.tolist(), abs=1e-2)
        assert token.logprob == told[0]  # temperature 0
        ids.append(int(likeliest[0]))


def test_what_a_draw_hangs_on(base: Path) -> None:
    """Draws differ, a seed repeats them, ten come in two requests; no temperature moves the scores.

    Alternatives of a draw stand with the model's own probabilities, which sum to 1.
    """
    drawn = request(temperature=1.5, samples=range(10), seed=7, top_logprobs=280)

    async def twice(model: ChatModel) -> list[Completion]:
        return [await model.complete(drawn) for _ in range(2)]

    first, _ = asked(base, twice)
    again = asked(base, lambda model: model.complete(drawn))
    texts = [choice.text for choice in first.choices]
    assert len(texts) == 10
    assert len(set(texts)) > 5
    assert [choice.text for choice in again.choices] == texts
    greedy = asked(base, lambda model: model.complete(request(top_logprobs=280)))
    start = [choice.tokens[0].top for choice in (*first.choices, *greedy.choices) if choice.tokens]
    for top in start:
        assert dict(top) == pytest.approx(dict(start[0]), abs=1e-4)
        assert sum(torch.tensor([logprob for _, logprob in top]).exp()) == pytest.approx(
            1, abs=0.01
        )


def test_draws_without_a_seed_differ(base: Path) -> None:
    """From one request to the next: 8 answers of 20 tokens that are not those of before."""
    drawn = request(temperature=1.5, samples=range(8), max_output_tokens=20)

    async def texts(model: ChatModel) -> list[str]:
        assert isinstance(model, Cached)  # which would repeat the answer
        assert model.client is not None
        return [choice.text for choice in (await model.client.complete(drawn)).choices]

    assert not {*asked(base, texts)} & {*asked(base, texts)}


def test_where_an_answer_ends(base: Path) -> None:
    """At the token limit, or before a text that ends it, whose tokens are left out."""
    whole = asked(base, lambda model: model.complete(request(top_logprobs=1)))
    (choice,) = whole.choices
    assert choice.finish_reason == "length"
    assert choice.tokens is not None
    assert len(choice.tokens) == whole.usage.completion == 6
    assert "".join(token.text for token in choice.tokens) == choice.text
    at = next(n for n in range(1, 6) if choice.tokens[n].text not in choice.text[:n])
    stop = choice.tokens[at].text
    cut = asked(base, lambda model: model.complete(request(top_logprobs=1, stop=(stop,))))
    assert cut.choices[0].finish_reason == "stop"
    assert cut.choices[0].text == choice.text[: choice.text.index(stop)]
    assert cut.choices[0].tokens == choice.tokens[: len(cut.choices[0].tokens or ())]


def test_the_mark_of_a_turn_ends_an_answer(base: Path, tmp_path: Path) -> None:
    """Where the files name another end, or none, that of the chat template is one all the same."""
    done = trained(tmp_path, base=str(base), method="full", epochs=12, patience=None)
    directory = Path(done.model.model)
    tokenizer = tokenizer_of(directory)
    tokenizer.eos_token = "<unk>"
    tokenizer.save_pretrained(directory)
    for name in ("config.json", "generation_config.json"):
        told = json.loads((directory / name).read_bytes())
        (directory / name).write_text(json.dumps({**told, "eos_token_id": None}))
    made = asked(directory, lambda model: model.complete(request(top_logprobs=1)))
    (choice,) = made.choices
    assert choice.text in ("red", "blue")
    assert choice.finish_reason == "stop"
    assert "".join(token.text for token in choice.tokens or ()) == choice.text


def test_a_given_answer_is_scored(base: Path) -> None:
    """As vLLM does it: the log-probabilities of its tokens, without what stands before or after."""

    async def scored(model: ChatModel) -> Completion:
        start = (await model.complete(length_request(ASKED))).usage.prompt
        return await model.complete(scored_request(ASKED, "red", start=start))

    (choice,) = asked(base, scored).choices
    assert choice.text == "red"
    assert choice.tokens is not None
    model, tokenizer = model_of(base), tokenizer_of(base)
    text = "<s>user\nthe colour of a?</s>\n<s>assistant\n"
    before, after = (tokenizer(t, add_special_tokens=False)["input_ids"] for t in (text, "red"))
    with torch.no_grad():
        logits = model(torch.tensor([before + after])).logits[0]
    expected = torch.log_softmax(logits, dim=-1)
    told = [float(expected[len(before) - 1 + n, id_]) for n, id_ in enumerate(after)]
    assert [token.logprob for token in choice.tokens] == pytest.approx(told, abs=1e-3)


def test_tokens_are_counted(base: Path) -> None:
    """By the server itself: a prompt as it is asked, a text alone."""

    async def counted(model: ChatModel) -> tuple[int, int, int]:
        assert isinstance(model, Cached)
        counter = await counter_for("tiny", model.client, llama_cpp=False)
        assert counter.how == "by the server"
        told = (await model.complete(request())).usage.prompt
        return await counter.prompt(request()), told, await counter.text("red")

    prompt, told, text = asked(base, counted)
    assert prompt == told
    assert text == len(tokenizer_of(base)("red", add_special_tokens=False)["input_ids"])


def test_a_prompt_that_is_too_long(base: Path) -> None:
    """It fails as it would anywhere, as `context`."""
    long = request(messages=(Message("user", "x" * 5000),))
    with pytest.raises(CallError) as failed:
        asked(base, lambda model: model.complete(long))
    assert failed.value.kind == "context"


def test_what_is_known_of_it(base: Path, tmp_path: Path) -> None:
    """Its identity is that of its files, wherever they lie; what it offers is known beforehand."""
    settings = ModelSettings(model=str(base))
    moved = tmp_path / "moved"
    moved.mkdir()
    for file in base.iterdir():
        (moved / file.name).write_bytes(file.read_bytes())
    assert model_identity(settings) == model_identity(ModelSettings(model=str(moved)))
    (moved / "config.json").write_text((moved / "config.json").read_text() + " ")
    assert model_identity(settings) != model_identity(ModelSettings(model=str(moved)))
    known = asyncio.run(known_capabilities(settings))
    assert known == asked(base, _capabilities)
    assert (known.logprobs, known.slots, known.grammar) == (True, 1, False)


async def _capabilities(model: ChatModel) -> Any:  # noqa: ANN401
    return model.capabilities


def test_a_json_object_is_asked_for_in_words(base: Path) -> None:
    """The server has no forms of replies, and what it says to the question is a reply."""
    shaped = request(response_format='{"type":"json_object"}')
    plain = asked(base, lambda model: model.complete(request()))
    assert asked(base, lambda model: model.complete(shaped)).choices == plain.choices


def test_the_server_by_itself(base: Path) -> None:
    """It listens on loopback alone, lists its model, says why it refuses, and ends when closed."""
    server = TorchServer(base, "tiny")
    root = server.listening_address
    assert root.startswith("http://127.0.0.1:")
    with httpx2.Client() as client:
        assert client.get(f"{root}/v1/models").json()["data"] == [{"id": "tiny"}]
        chat = f"{root}/v1/chat/completions"
        asked_ = {"messages": [{"role": "user", "content": "a?"}], "max_tokens": 2}
        assert client.post(chat, json=asked_).json()["usage"]["completion_tokens"] <= 2
        for wrong, told in (
            ({"n": 9}, "n must be at most 8"),
            ({"response_format": {"type": "json_object"}}, "response_format is not supported"),
            ({"messages": []}, "messages"),
            ({"temperature": "hot"}, "temperature"),
            ({"messages": [{"role": "user", "content": "x" * 5000}]}, "context length of 4096"),
        ):
            refused = client.post(chat, json={**asked_, **wrong})
            assert refused.status_code == 400
            assert told in refused.json()["error"]["message"]
        for broken in (b"{", b"[]"):
            assert client.post(chat, content=broken).status_code == 400
        half = b'{"messages": [{"role": "user", "content": "\\ud800"}], "max_tokens": 2}'
        refused = client.post(chat, content=half)  # no tokenizer takes half a character
        assert refused.status_code == 400
        assert "cannot compute this request" in refused.json()["error"]["message"]
        assert client.post(chat, json=asked_).status_code == 200
        server.close()
        with pytest.raises(httpx2.ConnectError):
            client.get(f"{root}/v1/models")


def test_a_server_that_cannot_listen(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says why, and nobody waits for it."""

    async def refuse(_: web.TCPSite) -> None:
        raise OSError(errno.EADDRNOTAVAIL, "no such address")

    monkeypatch.setattr(web.TCPSite, "start", refuse)
    with pytest.raises(OSError, match="no such address"):
        TorchServer(base, "tiny")
    assert not [each for each in threading.enumerate() if each.name == "torch server"]


def test_a_server_that_is_not_reached_is_closed(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever stops the start, no thread of it is left."""

    async def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(AsyncOpenAI, "get", interrupted)
    with pytest.raises(KeyboardInterrupt):
        asked(base, _capabilities)
    assert not [each for each in threading.enumerate() if each.name == "torch server"]


def test_models_in_directories_are_compared(base: Path, tmp_path: Path) -> None:
    """`evaluate model` asks both without a server of anyone's."""
    test = write(tmp_path / "test.jsonl", colours("qrst"))
    other = tiny_llama(tmp_path / "other.gguf", seed=1)
    other.save_pretrained(tmp_path / "other")
    tokenizer_of(base).save_pretrained(tmp_path / "other")
    words = ["evaluate", "model", str(test), "--out", str(tmp_path / "out"), "--json"]
    words += ["--arm", f"before={base}", "--arm", f"after={tmp_path / 'other'}"]
    done = CliRunner().invoke(app, [*words, "--max-answer-tokens", "4"])
    assert done.exit_code == 0, done.output
    arms = json.loads(done.stdout)["arms"]
    assert [(arm["answered"], arm["endpoint"]) for arm in arms] == [(4, "in this process")] * 2
    assert arms[0]["identity"] != arms[1]["identity"]


def test_a_run_with_candidates_of_a_directory(base: Path, tmp_path: Path) -> None:
    """A trained model writes the candidates, as it learnt them; every row has its fate."""
    done = trained(tmp_path, base=str(base), method="full", epochs=12, patience=None)
    data = write(tmp_path / "data.jsonl", colours("abcdef", ("green", "white")))
    config = build_config(
        flags={
            "models": {
                "scorer": {"model": str(base)},
                "candidate": done.model.model_dump(mode="json"),
            }
        },
        stages=["score", "filter", "rectify"],
        preset="likelihood",
    )
    run = Pipeline(config).run(data, out=tmp_path / "run")
    assert sum(run.manifest.fates.values()) == 6
    frame = run.frame()
    assert frame["confidence"].notna().all()
    written = set(frame["candidate"].dropna())
    assert written
    assert written <= {"red", "blue"}
