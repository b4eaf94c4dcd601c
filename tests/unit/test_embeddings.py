"""Agreement by embeddings: cosines worked out by hand, and the endpoint behind them."""

from __future__ import annotations

import asyncio

import pytest

from clear_pipeline.config import build_config
from clear_pipeline.errors import CallError, ConfigError, UsageError
from clear_pipeline.llm.base import Completion, Usage
from clear_pipeline.llm.catalog import DEFAULT_MODEL
from clear_pipeline.llm.meter import Meter
from clear_pipeline.llm.open import open_model
from clear_pipeline.llm.scripted import ScriptedChat
from clear_pipeline.llm.settings import ModelSettings
from clear_pipeline.llm.vectors import parse_embeddings
from clear_pipeline.schema import Example, Message, rows_table
from clear_pipeline.scoring.embedding import embedded_agreement
from clear_pipeline.stages.base import Context, Shard
from clear_pipeline.stages.score import Score

LONG = "One cat. Two cats. Three cats. A dog."
VECTORS = {
    "cat": "[2, 0]",
    "kitten": "[0.6, 0.8]",
    "dog": "[0, 5]",
    "not a cat": "[-1, 0]",
    "nothing": "[0, 0]",
    "One cat. Two cats.": "[1, 0]",
    "Three cats. A dog.": "[0, 1]",
}


def row(response: str) -> Example:
    return Example(
        id="a:1",
        file="a",
        line=1,
        format="chat",
        messages=(Message("user", "What is it?"),),
        target=Message("assistant", response),
        original="{}",
    )


def embedder() -> ScriptedChat:
    return ScriptedChat(lambda r, i: VECTORS[r.messages[0].text])


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("cat", "cat", 1.0),
        ("cat", "kitten", 0.6),
        ("cat", "dog", 0.0),
        ("cat", "not a cat", 0.0),
        ("cat", "nothing", 0.0),
        ("kitten", LONG, (0.8 + (0.6 + 0.8) / 2) / 2),
    ],
)
def test_agreement_is_the_cosine_of_the_nearest_passages(
    first: str, second: str, expected: float
) -> None:
    """Below 0 is 0; a long answer is embedded in passages, and both directions count the same."""
    for pair in ((first, second), (second, first)):
        found = asyncio.run(embedded_agreement(embedder(), row(pair[0]), pair[1]))
        assert found == pytest.approx(expected)


@pytest.mark.parametrize("said", ["no vector", "[1, 2, 3]", '["a", 1]', "7"])
def test_what_is_no_vector_of_the_same_length_is_an_error(said: str) -> None:
    """Never a score."""
    model = ScriptedChat(lambda r, i: "[1, 0]" if r.messages[0].text == "cat" else said)
    with pytest.raises(CallError, match="bad_reply"):
        asyncio.run(embedded_agreement(model, row("cat"), "dog"))


@pytest.mark.parametrize("data", [None, [], [{}], [{"embedding": []}], [{"embedding": [1.0]}] * 3])
def test_a_reply_without_a_vector_for_each_text_is_asked_for_again(data: object) -> None:
    """`garbled`, transient."""
    with pytest.raises(CallError) as failure:
        parse_embeddings({"data": data}, Usage(), ["a", "b"])
    assert (failure.value.kind, failure.value.transient) == ("garbled", True)


@pytest.mark.parametrize("broken", [float("nan"), "x", None])
def test_a_vector_that_is_no_numbers_fails_its_own_text(broken: object) -> None:
    """The others of its request have their answers, in the order of the texts."""
    data = [{"index": 1, "embedding": [broken]}, {"index": 0, "embedding": [1.0]}]
    fine, failed = parse_embeddings({"data": data}, Usage(), ["a", "b"])
    assert isinstance(fine, Completion)
    assert fine.text == "[1.0]"
    assert isinstance(failed, CallError)
    assert (failed.kind, failed.transient) == ("garbled", True)


def test_texts_share_the_tokens_of_a_request_by_their_lengths() -> None:
    """10 tokens on 1, 2 and 4 characters end at 10/7, 30/7 and 70/7: 1, 3 and 6 of them."""
    data = [{"index": n, "embedding": [1.0]} for n in range(3)]
    found = parse_embeddings({"data": data}, Usage(prompt=10), ["a", "bb", "cccc"])
    assert [said.usage.prompt for said in found if isinstance(said, Completion)] == [1, 3, 6]


def test_the_stage_asks_the_embedder_and_only_where_draws_are_compared() -> None:
    """Draws come from the scorer, vectors from the role `embedder`."""
    stage = Score(preset="paper", reflection=(), k=1, similarity="embeddings")
    assert stage.roles() == ("scorer", "embedder")
    assert Score().roles() == ("scorer",)
    scorer = ScriptedChat(lambda r, i: "FINAL RESPONSE: kitten")
    ctx = Context(models={"scorer": scorer, "embedder": embedder()})
    shard = Shard("s", rows_table([row("cat")]))
    (found,) = asyncio.run(stage.annotate(shard, [True], None, ctx)).to_pylist()
    assert found["entailment"] == pytest.approx(0.6)
    assert found["consistency"] == pytest.approx(0.8 * 0.6)


def test_the_scorer_never_stands_in_for_the_embedder() -> None:
    """The message says what to set."""
    config = build_config(flags={"models": {"scorer": {"model": "m"}}})
    with pytest.raises(ConfigError, match=r"models\.embedder"):
        config.model_for("embedder")


def test_the_embedded_model_gives_no_embeddings() -> None:
    """Said before anything is fetched or started."""
    settings = ModelSettings(model=DEFAULT_MODEL)
    with pytest.raises(UsageError, match=r"models\.embedder"):
        asyncio.run(open_model(settings, cache_path=None, meter=Meter(), embeds=True))
