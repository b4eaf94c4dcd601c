"""A model server on loopback that bills what arrives, keeps its own count, and fails at times."""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import random
from dataclasses import dataclass, field
from typing import Any, Final

from aiohttp import web

from clear_pipeline.llm.meter import Amount

PRICES: Final = {"input": 0.4, "output": 1.6}
"""US dollars per million tokens: 400 and 1,600 billionths a token."""

FAULTS: Final = {"refused": 0.04, "broken": 0.02, "silent": 0.01}
"""Shares of requests: 429, which is not billed; 500 and no answer at all, which are."""


@dataclass
class BillingServer:
    """Answers every chat request after a random time with one of two words.

    A request is counted and billed when it arrives, whatever becomes of its answer: what a killed
    client had in flight is on the bill.

    Attributes:
        seed: Of times, bills and faults.
        slots: So many requests it claims to compute at once, as a llama.cpp does: a client then
            begins with as many in flight.
        billed: Requests, tokens and billionths of a dollar so far.
        client: Is killed when request number `kill_at` arrives.
        most_open: The largest number of requests that were open at once.
    """

    seed: int
    slots: int = 64
    billed: Amount = field(default_factory=Amount)
    client: asyncio.subprocess.Process | None = None
    kill_at: int | None = None
    most_open: int = 0

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._open = 0
        self._runner: web.AppRunner | None = None

    async def start(self) -> str:
        """Listen on a free port; returns the base URL."""
        app = web.Application(client_max_size=1 << 26)
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_get("/props", self._props)
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
        self._runner = runner
        return f"http://127.0.0.1:{runner.addresses[0][1]}/v1"

    async def stop(self) -> None:
        """Close the port."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _props(self, _: web.Request) -> web.Response:
        return web.json_response({"total_slots": self.slots})

    async def _chat(self, request: web.Request) -> web.Response:
        body = await request.json()
        fault = self._fault()
        bill = (0, 0) if fault == "refused" else self._bill(body)
        self.billed += Amount(1, sum(bill), 400 * bill[0] + 1_600 * bill[1])
        if self.kill_at is not None and self.billed.calls >= self.kill_at and self.client:
            self.kill_at = None
            self.client.kill()
        self._open += 1
        self.most_open = max(self.most_open, self._open)
        try:
            await asyncio.sleep(self._random.random() * 0.05)
            return await self._end(body, fault, bill)
        finally:
            self._open -= 1

    def _fault(self) -> str | None:
        drawn, below = self._random.random(), 0.0
        for name, share in FAULTS.items():
            below += share
            if drawn < below:
                return name
        return None

    def _bill(self, body: dict[str, Any]) -> tuple[int, int]:
        """Up to a token per two bytes of the messages, and up to what may be written."""
        size = len(json.dumps(body["messages"], ensure_ascii=False).encode())
        samples = body.get("n", 1)
        written = self._random.randint(1, samples * body["max_tokens"])
        return self._random.randint(size // 5, size // 2), written

    async def _end(
        self, body: dict[str, Any], fault: str | None, bill: tuple[int, int]
    ) -> web.Response:
        if fault == "silent":
            await asyncio.Event().wait()
        if fault == "refused":
            return web.json_response({"error": {"message": "slow down"}}, status=429)
        if fault == "broken":
            return web.json_response({"error": {"message": "broken"}}, status=500)
        choices = [_choice(body, index) for index in range(body.get("n", 1))]
        usage = {"prompt_tokens": bill[0], "completion_tokens": bill[1]}
        return web.json_response({"model": "billing", "choices": choices, "usage": usage})


def _choice(body: dict[str, Any], index: int) -> dict[str, Any]:
    """Yes or No, as likely as a hash of the messages says."""
    text = json.dumps(body["messages"], sort_keys=True)
    yes = (int(hashlib.sha256(text.encode()).hexdigest()[:8], 16) + 1) / (16**8 + 2)
    top = [{"token": word, "logprob": math.log(p)} for word, p in (("Yes", yes), ("No", 1 - yes))]
    said = max(top, key=lambda each: float(str(each["logprob"])))
    choice: dict[str, Any] = {
        "index": index,
        "finish_reason": "stop",
        "message": {"role": "assistant", "content": said["token"]},
    }
    if body.get("logprobs"):
        choice["logprobs"] = {"content": [{**said, "top_logprobs": top}]}
    return choice
