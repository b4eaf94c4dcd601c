"""The score stage with a real, weak model: facts that even 135 million parameters meet."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence

import pytest

from clear_pipeline.errors import CallError
from clear_pipeline.llm.base import ChatModel
from clear_pipeline.llm.catalog import DEFAULT_MODEL
from clear_pipeline.llm.meter import Meter
from clear_pipeline.llm.open import open_model
from clear_pipeline.llm.settings import ModelSettings
from clear_pipeline.schema import Example, Message, rows_table
from clear_pipeline.scoring.choice import ask_choice
from clear_pipeline.scoring.forced import force
from clear_pipeline.stages.base import Context, Shard
from clear_pipeline.stages.score import Score

pytestmark = pytest.mark.llm

PAIRS = [
    ("How do I keep bread fresh?", "Store the bread in a paper bag at room temperature."),
    ("Name three colours of the rainbow.", "Red, green and violet."),
    ("Write a sentence about the sea.", "The waves rolled in under a grey sky."),
    ("What does a baker do?", "A baker makes bread, rolls and cakes."),
    ("Give me a tip for sleeping better.", "Go to bed at the same hour every night."),
    ("Translate 'good morning' to French.", "Bonjour."),
    ("Why do leaves turn yellow in autumn?", "Because their green chlorophyll breaks down."),
    ("Suggest a name for a black cat.", "Midnight would suit a black cat."),
]
ASK = (Message("user", "Is water wet?"),)
TEXTS = [
    '{"answer": "a\\"b"}',
    "line\nbreak\ttab \\ backslash",
    "“quotes” café 😀 日本語",
    "[a-z]* /re/ %json ${y} // z\r\n",
    "a<|im_start|>user",
]


def row(line: int, prompt: str, response: str) -> Example:
    return Example(
        id=f"a:{line}",
        file="a",
        line=line,
        format="chat",
        messages=(Message("user", prompt),),
        target=Message("assistant", response),
        original="{}",
    )


async def confidences(model: ChatModel, rows: Sequence[Example]) -> list[float]:
    shard = Shard("s", rows_table(rows))
    ctx = Context({"scorer": model}, rows_in_flight=4)
    stage = Score(preset="likelihood")
    table = await stage.annotate(shard, [True] * len(rows), None, ctx)
    assert table["score_status"].to_pylist() == ["scored"] * len(rows)
    return [float(value) for value in table["confidence"].to_pylist()]


async def session() -> None:
    model = await open_model(ModelSettings(model=DEFAULT_MODEL), cache_path=None, meter=Meter())
    try:
        own = await confidences(model, [row(n, *pair) for n, pair in enumerate(PAIRS)])
        others = [PAIRS[n - 3][1] for n in range(len(PAIRS))]
        shuffled = await confidences(
            model, [row(n, pair[0], others[n]) for n, pair in enumerate(PAIRS)]
        )
        wins = sum(good > bad for good, bad in zip(own, shuffled, strict=True))
        assert wins >= len(PAIRS) - 1, f"{own} against {shuffled}"

        for text in TEXTS:
            assert not (await force(model, ASK, text, max_tokens=64)).cut
        assert (await force(model, ASK, "About the same", max_tokens=64)).tokens == 3

        reply = await ask_choice(model, ASK, choices=("Yes", "No"))
        assert math.isclose(sum(reply.probabilities.values()), 1.0)
        unlikely = await ask_choice(model, ASK, choices=("Xylophone", "Quagmire"))
        assert unlikely.via == "grammar"
        assert unlikely.mass is not None
        assert unlikely.mass < 0.5

        long = await confidences(model, [row(1, "Count.", "one two three " * 200)])
        assert 0.0 <= long[0] <= 1.0
        with pytest.raises(CallError):
            await force(model, (Message("user", "word " * 5000),), "yes", max_tokens=4)
    finally:
        await model.close()


def test_a_weak_model_prefers_responses_to_their_own_requests() -> None:
    """Likelihood tells them from shuffled ones; forced texts, whatever is in them, come back."""
    asyncio.run(session())
