"""A proxy on loopback that counts what a system asks of a model server.

Some systems do not say how many tokens they used, and others count in their own way. Behind one
proxy all are counted alike, from the `usage` of the server's own replies.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from aiohttp import web

from clear_pipeline.llm.base import Usage
from clear_pipeline.llm.wire import parse_usage

_FORWARDED = ("Content-Type", "Authorization")


@dataclass(slots=True)
class Counts:
    """Chat requests and what the server counted for those that it answered."""

    calls: int = 0
    usage: Usage = field(default_factory=Usage)


class CountingProxy:
    """Hands every request on to a model server; counts the chat requests.

    The `model` of a request is replaced by `model`: a peer that behaves by the name of its model
    may be told another one. On a llama.cpp the first request of each count is computed without the
    server's prompt cache, so that no system profits from the prompts of the one before it.

    Args:
        base_url: Of the server, ending in /v1.
        model: As the server knows it.
    """

    def __init__(self, base_url: str, *, model: str) -> None:
        parts = urlsplit(base_url)
        self._upstream = f"{parts.scheme}://{parts.netloc}"
        self._path = parts.path
        self._model = model
        self._llama_cpp = False
        self._fresh = False
        self._counts = Counts()
        self.url = ""

    async def start(self) -> None:
        """Listen on a free port; `url` then says where."""
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None))
        async with self._session.get(f"{self._upstream}/props") as reply:
            self._llama_cpp = reply.ok and "total_slots" in await reply.json()
        app = web.Application(client_max_size=1 << 26)
        app.router.add_route("*", "/{path:.*}", self._handle)
        # A client that is gone, such as a peer that was given up, keeps the server busy no longer.
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}{self._path}"

    async def close(self) -> None:
        """Stop listening."""
        await self._runner.cleanup()
        await self._session.close()

    def begin(self) -> Counts:
        """Count from zero, into what is returned."""
        self._counts = Counts()
        self._fresh = True
        return self._counts

    async def _handle(self, request: web.Request) -> web.Response:
        counts = self._counts
        body = await request.read()
        is_chat = request.path.endswith("/chat/completions")
        if is_chat:
            body = self._adapted(json.loads(body))
        headers = {name: request.headers[name] for name in _FORWARDED if name in request.headers}
        url = self._upstream + request.path_qs
        try:
            reply = await self._session.request(request.method, url, data=body, headers=headers)
        except aiohttp.ClientError as error:
            return web.Response(status=502, text=str(error))
        async with reply:
            text = await reply.read()
        if is_chat:
            counts.calls += 1
        if is_chat and reply.ok:
            counts.usage += parse_usage(json.loads(text), per_choice=self._llama_cpp)
        return web.Response(status=reply.status, body=text, content_type=reply.content_type)

    def _adapted(self, body: dict[str, Any]) -> bytes:
        body["model"] = self._model
        if self._fresh and self._llama_cpp:
            body["cache_prompt"] = False
        self._fresh = False
        return json.dumps(body).encode()
