"""The cache is invisible: with it, a model answers as without it, and is asked less."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from clear_pipeline.llm.base import ChatRequest
from clear_pipeline.llm.cache import Cached
from clear_pipeline.llm.meter import Meter
from clear_pipeline.llm.scripted import ScriptedChat
from clear_pipeline.schema import Message

REQUESTS = st.builds(
    lambda text, start, count, temperature: ChatRequest(
        (Message("user", text),), 8, temperature, samples=range(start, start + count)
    ),
    st.text(max_size=2),
    st.integers(0, 4),
    st.integers(1, 4),
    st.sampled_from([0.0, 1.0]),
)


@given(st.lists(REQUESTS, max_size=12))
def test_the_cache_changes_no_answer_and_asks_each_sample_once(requests: list[ChatRequest]) -> None:
    """Any order of overlapping requests gives the plain model's texts, each sample asked once."""

    def reply(request: ChatRequest, sample: int) -> str:
        return f"{request.messages[0].text}/{request.temperature}/{sample}"

    async def texts() -> list[list[str]]:
        cached = Cached(model, path=None, meter=Meter())
        got = [await cached.complete(request) for request in requests]
        await cached.close()
        return [[choice.text for choice in completion.choices] for completion in got]

    model = ScriptedChat(reply)
    assert asyncio.run(texts()) == [[reply(r, i) for i in r.samples] for r in requests]
    asked = [reply(request, i) for request in model.requests for i in request.samples]
    assert len(asked) == len(set(asked))
