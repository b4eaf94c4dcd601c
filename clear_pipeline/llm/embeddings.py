"""Embeddings through the same stack as chat: the vector is the text of the reply, as JSON.

So one cache, one meter and one set of limits serve both, and a `ScriptedChat` can stand in.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from clear_pipeline.errors import CallError, ClearPipelineError
from clear_pipeline.llm.base import Capabilities, ChatRequest, Completion
from clear_pipeline.llm.openai_chat import OpenAIChat
from clear_pipeline.llm.wire import Body

_Asked = tuple[str, "asyncio.Future[Completion]"]


class EmbeddingModel:
    """A `ChatModel` that answers a text with its embedding.

    Texts that are asked about in one turn of the event loop go in one request. So a request holds
    as many as the layers above let through at once. Where an endpoint refuses a request of
    several texts, its halves are asked about: either it was too large, and later ones are no larger
    than what was taken, or one of the texts is refused by itself and no other with it.

    Args:
        client: Of the endpoint that has `/v1/embeddings`.
        identity: Not the client's own: an endpoint may answer one text in both ways.
    """

    def __init__(self, client: OpenAIChat, identity: str) -> None:
        self.client = client
        self.identity = identity
        self._waiting: list[_Asked] = []
        self._most: int | None = None
        self._sending: set[asyncio.Task[None]] = set()

    @property
    def capabilities(self) -> Capabilities:
        """As the client's."""
        return self.client.capabilities

    async def complete(self, request: ChatRequest) -> Completion:
        """The embedding of the last message's text, as a JSON list.

        Raises:
            CallError: No usable answer.
        """
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Completion] = loop.create_future()
        if not self._waiting:
            loop.call_soon(self._send)
        self._waiting.append((request.messages[-1].text, answer))
        return await answer

    async def ask_root(self, path: str, body: Body) -> Body:
        """As `OpenAIChat.ask_root`."""
        return await self.client.ask_root(path, body)

    async def close(self) -> None:
        """Give up what is under way, and close the client."""
        for task in self._sending:
            task.cancel()
        await asyncio.gather(*self._sending, return_exceptions=True)
        await self.client.close()

    def _send(self) -> None:
        """Ask about all texts that wait."""
        asked, self._waiting = self._waiting, []
        size = self._most or len(asked)
        for start in range(0, len(asked), size):
            task = asyncio.create_task(self._answer(asked[start : start + size]))
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)

    async def _answer(self, asked: Sequence[_Asked]) -> None:
        """Give every text of one request its answer or its error."""
        try:
            found = await self._embedded([text for text, _ in asked])
        except ClearPipelineError as error:
            found = [error] * len(asked)
        except asyncio.CancelledError:
            for _, answer in asked:
                answer.cancel()
            raise
        for (_, answer), said in zip(asked, found, strict=True):
            if answer.done():  # whoever asked does not wait any more
                continue
            if isinstance(said, Completion):
                answer.set_result(said)
            else:
                answer.set_exception(said)

    async def _embedded(self, texts: Sequence[str]) -> Sequence[Completion | ClearPipelineError]:
        try:
            return await self.client.embed(texts)
        except CallError as error:
            if error.transient or len(texts) == 1:
                raise
        middle = (len(texts) + 1) // 2
        halves = [await self._half(part) for part in (texts[:middle], texts[middle:])]
        found = [said for half in halves for said in half]
        if all(isinstance(said, Completion) for said in found):
            self._most = middle
        return found

    async def _half(self, texts: Sequence[str]) -> Sequence[Completion | ClearPipelineError]:
        try:
            return await self._embedded(texts)
        except ClearPipelineError as error:  # a stop by a cap, too: the other half may be paid for
            return [error] * len(texts)
