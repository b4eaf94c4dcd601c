"""A model inside this process: llama.cpp through `xllamacpp`, or torch, asked over loopback.

It is the same client, cache and limits as for any other endpoint; only its start differs.
"""

from __future__ import annotations

import asyncio
import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Self

from clear_pipeline.errors import MissingExtraError
from clear_pipeline.llm.base import Capabilities, ChatRequest, Completion
from clear_pipeline.llm.budget import Account
from clear_pipeline.llm.catalog import CatalogModel
from clear_pipeline.llm.openai_chat import OpenAIChat
from clear_pipeline.llm.pull import Note, obtain
from clear_pipeline.llm.settings import ModelSettings
from clear_pipeline.llm.wire import Body

SLOTS: Final = 4
"""Requests computed at once."""

_LLAMA_CPP: Final = Capabilities(grammar=True, logprobs=True, slots=SLOTS, llguidance=True)
_TORCH: Final = Capabilities(logprobs=True, slots=1, schema=False, prompt_logprobs=True)

CONTEXT: Final = 4096
"""Tokens of prompt and answer that one request may have. A longer one fails as `context`."""


class EmbeddedChat:
    """A model served by this process; made by `start`. Its identity is its weights."""

    def __init__(
        self,
        client: OpenAIChat,
        server: Any,  # noqa: ANN401 -- xllamacpp is untyped
        known: Capabilities,
    ) -> None:
        self._client = client
        self._server = server
        self._known = known

    @classmethod
    async def start(
        cls, settings: ModelSettings, model: CatalogModel, *, account: Account, note: Note
    ) -> Self:
        """Fetch the weights if need be and start the server: torch for a directory.

        Raises:
            MissingExtraError: xllamacpp, or torch, is not installed.
            UsageError: A directory cannot be read as a model.
            WeightsError: The weights could not be had.
        """
        if model.directory is None:
            _require_xllamacpp()
            path = await asyncio.to_thread(obtain, model, note=note)
            server = await asyncio.to_thread(serve, path, model.name)
        else:
            _require_torch()
            from clear_pipeline.llm.torch_server import TorchServer

            server = await asyncio.to_thread(TorchServer, model.directory, model.name)
        local = settings.model_copy(update={"base_url": f"{server.listening_address}/v1"})
        client = OpenAIChat(local, account=account, identity=model.identity)
        made = cls(client, server, capabilities_of(model))
        try:
            await client.probe()
        except BaseException:
            await made.close()
            raise
        return made

    @property
    def identity(self) -> str:
        """SHA-256 of the weights."""
        return self._client.identity

    @property
    def capabilities(self) -> Capabilities:
        """As `capabilities_of` the model."""
        return self._known

    async def complete(self, request: ChatRequest) -> Completion:
        """As `OpenAIChat.complete`."""
        return await self._client.complete(request)

    async def ask_root(self, path: str, body: Body) -> Body:
        """As `OpenAIChat.ask_root`."""
        return await self._client.ask_root(path, body)

    async def close(self) -> None:
        """Stop the server and free its memory.

        In a thread: it waits for requests whose client has gone, which it sees once the event loop
        has closed their connections.
        """
        await self._client.close()
        if (stop := getattr(self._server, "close", None)) is not None:
            await asyncio.to_thread(stop)
        held, self._server = [self._server], None
        await asyncio.to_thread(held.clear)


def capabilities_of(model: CatalogModel) -> Capabilities:
    """What a model can be asked in this process, before it is started."""
    return _LLAMA_CPP if model.directory is None else _TORCH


def _require_xllamacpp() -> None:
    try:
        import xllamacpp  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(
            "the embedded model needs the extra `local`: pip install 'clear-pipeline[local]'; "
            "or name a server with --base-url"
        ) from error


def _require_torch() -> None:
    if any(find_spec(name) is None for name in ("torch", "transformers")):
        raise MissingExtraError(
            "a model in a directory needs the extra `train`: pip install 'clear-pipeline[train]'; "
            "or name a server with --base-url"
        )


def serve(weights: Path, name: str) -> Any:  # noqa: ANN401 -- xllamacpp is untyped
    """Start llama.cpp on a free loopback port; it stops when the object is collected."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(weights)
    params.model_alias = {name}  # else the served name is the path
    params.port = 0
    params.n_parallel = SLOTS
    params.n_ctx = CONTEXT * SLOTS
    params.cpuparams.n_threads = len(os.sched_getaffinity(0))
    params.cache_ram_mib = 0  # by default up to 8 GiB of old prompts
    params.fit_params = False  # else the context depends on the memory that is free
    params.warmup = False
    params.verbosity = 0
    return xllamacpp.Server(params)
