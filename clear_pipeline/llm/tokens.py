"""How many tokens a prompt has, without paying for the answer.

Three ways, the best that there is: the server's own count (llama.cpp, vLLM), a tokenizer on this
machine (extra `tokens`, for OpenAI's, Qwen's and Llama 3's vocabularies), or a guess by length.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, Protocol, runtime_checkable

from clear_pipeline.llm.base import ChatRequest
from clear_pipeline.llm.wire import Body, request_body

BYTES_PER_TOKEN: Final = 4.0
"""Of English text in UTF-8, where nothing better is known; other languages have fewer."""

PER_MESSAGE: Final = 4
"""Tokens that a chat template writes around a turn, roughly: OpenAI's."""

PER_PROMPT: Final = 3
"""Tokens that begin the model's own turn."""

_VOCABULARIES: Final = (
    (re.compile(r"gpt-oss"), "o200k_harmony"),
    (re.compile(r"gpt-(?:3\.5|4(?!o|\.))|text-embedding-"), "cl100k_base"),
    (re.compile(r"(?:ft:)?(?:gpt-|chatgpt-|o\d)"), "o200k_base"),
    (re.compile(r"qwen-?[23]"), "qwen3"),
    (re.compile(r"(?:meta-)?llama-?3"), "llama3"),
)
"""By the start of a model's name, without its organisation."""


class TokenCounter(Protocol):
    """Counts the tokens of prompts and texts for one model."""

    @property
    def how(self) -> str:
        """Who counts, in words that can stand after "tokens counted"."""
        ...

    async def prompt(self, request: ChatRequest) -> int:
        """Tokens of the prompt of `request`, those of the chat template included."""
        ...

    async def text(self, text: str) -> int:
        """Tokens of a text alone."""
        ...


@runtime_checkable
class HasRoot(Protocol):
    """The client of a server that may have paths beside those of the API."""

    async def ask_root(self, path: str, body: Body) -> Body:
        """What the server answers; {} if that is nothing of use. Never an error."""
        ...


class ByLength:
    """Guesses by the length of the text."""

    how = f"by length, {BYTES_PER_TOKEN:g} bytes each"

    async def prompt(self, request: ChatRequest) -> int:
        """Of all texts, with `PER_MESSAGE` for each turn and `PER_PROMPT`."""
        return await self.text(_said(request)) + _around(request)

    async def text(self, text: str) -> int:
        """One per `BYTES_PER_TOKEN`."""
        return round(len(text.encode("utf-8", "surrogatepass")) / BYTES_PER_TOKEN)


class ByVocabulary:
    """Counts with a tokenizer on this machine; what the chat template adds is guessed.

    Args:
        name: Of the vocabulary.
        count: Tokens of a text.
    """

    def __init__(self, name: str, count: Callable[[str], int]) -> None:
        self.how = f"with the vocabulary {name}, on this machine"
        self._count = count

    async def prompt(self, request: ChatRequest) -> int:
        """Of all texts, with `PER_MESSAGE` for each turn and `PER_PROMPT`."""
        return await self.text(_said(request)) + _around(request)

    async def text(self, text: str) -> int:
        """Exact, but for halves of characters."""
        return self._count(text.encode("utf-8", "replace").decode())


class ByServer:
    """Asks the server that will read the prompts. Exact; no token is generated.

    Args:
        client: Of the server.
        model: Its name there.
        llama_cpp: Whether it is a llama.cpp, else it is asked as a vLLM.
    """

    how = "by the server"

    def __init__(self, client: HasRoot, model: str, *, llama_cpp: bool) -> None:
        self._client = client
        self._model = model
        self._llama_cpp = llama_cpp
        self._other = ByLength()

    async def prompt(self, request: ChatRequest) -> int:
        """Of the prompt as the server's chat template writes it."""
        body = request_body(request, self._model)
        shown = {name: body[name] for name in _SHOWN if name in body}
        if self._llama_cpp:
            written = (await self._client.ask_root("/apply-template", shown)).get("prompt")
            if not isinstance(written, str):
                return await self._other.prompt(request)
            shown = {"content": written, "add_special": True, "parse_special": True}
        found = await self._tokens(shown)
        return await self._other.prompt(request) if found is None else found

    async def text(self, text: str) -> int:
        """Of the text alone, without a token that begins it."""
        plain = {"model": self._model, "prompt": text, "add_special_tokens": False}
        found = await self._tokens({"content": text} if self._llama_cpp else plain)
        return await self._other.text(text) if found is None else found

    async def knows(self) -> bool:
        """Whether the server counts at all."""
        return await self._tokens({"content": "a"} if self._llama_cpp else _ONE_WORD) is not None

    async def _tokens(self, body: Body) -> int | None:
        reply = await self._client.ask_root("/tokenize", {"model": self._model, **body})
        listed, count = reply.get("tokens"), reply.get("count")
        if self._llama_cpp:
            return len(listed) if isinstance(listed, list) else None
        return count if isinstance(count, int) else None


_SHOWN: Final[tuple[str, ...]] = (
    "model", "messages", "tools", "add_generation_prompt", "continue_final_message",
)  # fmt: skip
"""What of a request decides the prompt."""
_ONE_WORD: Final[Body] = {"prompt": "a", "add_special_tokens": False}


async def counter_for(model: str, client: object, *, llama_cpp: bool) -> TokenCounter:
    """The best way to count for a model.

    Args:
        model: Its name at the endpoint.
        client: Of its server; None if it must not be asked.
        llama_cpp: Whether the server is a llama.cpp.
    """
    if isinstance(client, HasRoot):
        server = ByServer(client, model, llama_cpp=llama_cpp)
        if await server.knows():
            return server
    return _offline(model) or ByLength()


def _offline(model: str) -> TokenCounter | None:
    name = model.lower().rsplit("/", 1)[-1]
    found = next((v for pattern, v in _VOCABULARIES if pattern.match(name)), None)
    if found is None:
        return None
    try:
        import quicktok
    except ImportError:
        return None
    return ByVocabulary(found, quicktok.get_encoding(found).count)


def _said(request: ChatRequest) -> str:
    parts = [request.tools or ""]
    for message in request.messages:
        parts += [message.role, message.name or "", message.text, message.tool_calls or ""]
    return "\n".join(part for part in parts if part)


def _around(request: ChatRequest) -> int:
    return PER_MESSAGE * len(request.messages) + PER_PROMPT
