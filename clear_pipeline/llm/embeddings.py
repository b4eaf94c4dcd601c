"""Embeddings through the same stack as chat: the vector is the text of the reply, as JSON.

So one cache, one meter and one set of limits serve both, and a `ScriptedChat` can stand in.
"""

from __future__ import annotations

from dataclasses import dataclass

from clear_pipeline.llm.base import Capabilities, ChatRequest, Completion
from clear_pipeline.llm.openai_chat import OpenAIChat
from clear_pipeline.llm.wire import Body


@dataclass(frozen=True, slots=True)
class EmbeddingModel:
    """A `ChatModel` that answers a text with its embedding.

    Attributes:
        client: Of the endpoint that has `/v1/embeddings`.
        identity: Not the client's own: an endpoint may answer one text in both ways.
    """

    client: OpenAIChat
    identity: str

    @property
    def capabilities(self) -> Capabilities:
        """As the client's."""
        return self.client.capabilities

    async def complete(self, request: ChatRequest) -> Completion:
        """The embedding of the last message's text, as a JSON list.

        Raises:
            CallError: No usable answer.
        """
        return await self.client.embed(request.messages[-1].text)

    async def ask_root(self, path: str, body: Body) -> Body:
        """As `OpenAIChat.ask_root`."""
        return await self.client.ask_root(path, body)

    async def close(self) -> None:
        """Close the client."""
        await self.client.close()
