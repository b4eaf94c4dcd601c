"""The embedded model: starts by itself, keeps to a grammar, gives probabilities, goes away."""

import asyncio
import math

import pytest

from clear_pipeline.errors import CallError
from clear_pipeline.llm.base import ChatModel, ChatRequest
from clear_pipeline.llm.catalog import DEFAULT_MODEL
from clear_pipeline.llm.embedded import CONTEXT, SLOTS
from clear_pipeline.llm.meter import Meter
from clear_pipeline.llm.open import model_identity, open_model
from clear_pipeline.llm.settings import ModelSettings
from clear_pipeline.schema import Message

pytestmark = pytest.mark.llm
SETTINGS = ModelSettings(model=DEFAULT_MODEL)


def ask(text: str, **fields: object) -> ChatRequest:
    values: dict[str, object] = {"max_output_tokens": 8, "temperature": 0.0, **fields}
    return ChatRequest((Message("user", text),), **values)  # type: ignore[arg-type]


def test_the_embedded_model_answers(capfd: pytest.CaptureFixture[str]) -> None:
    """Probabilities, a forced text, draws beyond the slots, a too long prompt: without a word."""

    async def session() -> None:
        model = await open_model(SETTINGS, cache_path=None, meter=Meter())
        try:
            await work(model)
        finally:
            await model.close()

    async def work(model: ChatModel) -> None:
        assert model.identity == model_identity(SETTINGS)
        assert (model.capabilities.grammar, model.capabilities.slots) == (True, SLOTS)
        forced = await model.complete(
            ask("Say a colour.", grammar='root ::= "blue"', top_logprobs=0)
        )
        tokens = forced.choices[0].tokens or ()
        assert forced.text == "blue"
        assert "".join(token.text for token in tokens) == "blue"
        assert all(-100 < token.logprob <= 0 for token in tokens)
        (token,) = (
            await model.complete(ask("Yes or no?", max_output_tokens=1, top_logprobs=20))
        ).choices[0].tokens or ()
        assert len(token.top) == 20
        assert sum(math.exp(logprob) for _, logprob in token.top) <= 1 + 1e-6
        draws = await model.complete(
            ask("Name an animal.", samples=range(SLOTS + 2), temperature=1.0, seed=0)
        )
        assert len({choice.text for choice in draws.choices}) > 1
        assert draws.usage.completion > draws.usage.prompt / 10
        with pytest.raises(CallError) as failure:
            await model.complete(ask("word " * CONTEXT))
        assert (failure.value.kind, failure.value.transient) == ("context", False)

    asyncio.run(session())
    out, err = capfd.readouterr()
    assert (out, err) == ("", "")
