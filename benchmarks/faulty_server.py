"""A model server on loopback that fails on purpose, and counts for itself what it was asked.

    python -m benchmarks.faulty_server --port-file F --faults 0.2 --seed 1
    python -m benchmarks.faulty_server --port-file F --rate 50 --headers --retry-after

Answers depend on the messages alone, and which request meets which fault on the seed, the
question and how often it was asked before. GET /stats tells the counts. POST /kill
{"pid": P, "after": N} kills that process when N more requests have come; after a kill by somebody
else, POST /killed tells of it.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import math
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from aiohttp import web

Body = dict[str, Any]

FAULTS: Final = (
    "429", "429 with Retry-After", "500", "503", "slow body", "hang", "reset", "cut connection",
    "truncated JSON", "invalid JSON", "no choices", "choice without message", "duplicated choice",
    "NaN", "400 names a parameter",
)  # fmt: skip
"""All are met by retries, but for "slow body" and "duplicated choice", which are answers."""

_SLOW_S: Final = 0.3
_RETRY_AFTER_S: Final = 1


@dataclass
class Bucket:
    """Allows `rate` requests a second, and as many at once as come in one second."""

    rate: float
    level: float = field(init=False)
    _at: float = field(init=False, default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.level = self.rate

    def take(self) -> bool:
        """Whether one more request is allowed now."""
        now = time.monotonic()
        self.level = min(self.rate, self.level + (now - self._at) * self.rate)
        self._at = now
        if self.level < 1:
            return False
        self.level -= 1
        return True

    def headers(self) -> dict[str, str]:
        """What a provider tells of it."""
        reset = (self.rate - self.level) / self.rate
        return {
            "x-ratelimit-limit-requests": f"{60 * self.rate:g}",
            "x-ratelimit-remaining-requests": str(int(self.level)),
            "x-ratelimit-reset-requests": f"{reset:.3f}s",
        }


@dataclass
class Counts:
    """What the server saw.

    Attributes:
        outcomes: Requests by fault, or "answered", or "429" of the rate limit.
        asked: Requests by question.
        answered: Whole, good answers by question: more than one is work done twice.
        open: Requests open now.
        most_open: And at most.
        last_answered: Per question, how many kills there had been when it was last answered.
        killed: Per kill, requests open at that moment.
        repeated: Per kill, questions that had been answered since the kill before, and were
            answered again: their answers were lost.
        seconds: Per second since the start: requests, answers, refusals.
    """

    outcomes: Counter[str] = field(default_factory=Counter)
    asked: Counter[str] = field(default_factory=Counter)
    answered: Counter[str] = field(default_factory=Counter)
    open: int = 0
    most_open: int = 0
    last_answered: dict[str, int] = field(default_factory=dict)
    killed: list[int] = field(default_factory=list)
    repeated: Counter[int] = field(default_factory=Counter)
    seconds: dict[int, list[int]] = field(default_factory=dict)
    began: float = field(default_factory=time.monotonic)

    def tick(self, what: int) -> None:
        """Count a request (0), an answer (1) or a refusal (2) in its second."""
        second = int(time.monotonic() - self.began)
        self.seconds.setdefault(second, [0, 0, 0])[what] += 1

    def answer(self, question: str) -> None:
        """Count a whole, good answer."""
        self.answered[question] += 1
        if self.answered[question] > 1:
            self.repeated[self.last_answered[question]] += 1
        self.last_answered[question] = len(self.killed)
        self.tick(1)

    def to_json(self) -> Body:
        """For GET /stats."""
        return {
            "requests": self.asked.total(),
            "questions": len(self.asked),
            "outcomes": dict(self.outcomes),
            "answered": self.answered.total(),
            "answered_again": self.answered.total() - len(self.answered),
            "most_open": self.most_open,
            "killed": self.killed,
            "repeated": [self.repeated[kill] for kill in range(len(self.killed) + 1)],
            "seconds": self.seconds,
        }


class FaultyServer:
    """The handlers.

    Args:
        args: The command line, see `main`.
    """

    def __init__(self, args: argparse.Namespace) -> None:
        self._args = args
        self._bucket = Bucket(args.rate) if args.rate else None
        self._victim: tuple[int, int] | None = None
        self.counts = Counts()

    async def chat(self, request: web.Request) -> web.StreamResponse:
        """Answer a chat completion, or fail."""
        body = await request.json()
        question = _hash(body["messages"], body.get("max_tokens"))
        counts = self.counts
        counts.asked[question] += 1
        counts.open += 1
        counts.most_open = max(counts.most_open, counts.open)
        counts.tick(0)
        self._kill_if_due()
        try:
            outcome, response = await self._outcome(request, body, question)
        finally:
            counts.open -= 1
        if response.status == 429:
            counts.tick(2)
        elif outcome in {"answered", "slow body", "duplicated choice"}:
            counts.answer(question)
        return response

    async def _outcome(
        self, request: web.Request, body: Body, question: str
    ) -> tuple[str, web.StreamResponse]:
        if self._bucket is not None and not self._bucket.take():
            self.counts.outcomes["429"] += 1
            return "429", self._refusal(retry_after=self._args.retry_after)
        attempt = self.counts.asked[question]
        chance, choice = _uniform(self._args.seed, question, attempt, count=2)
        fault = FAULTS[int(choice * len(FAULTS))] if chance < self._args.faults else None
        fault = "429" if chance < self._args.refuse else fault
        if fault == "400 names a parameter" and "temperature" not in body:
            fault = None  # it was left out, as told
        if fault is None:
            await asyncio.sleep(self._args.latency)
            self.counts.outcomes["answered"] += 1
            return "answered", web.json_response(_completion(body), headers=self._headers())
        self.counts.outcomes[fault] += 1  # before, since one that hangs comes to no end
        return fault, await self._fail(fault, request, body)

    async def _fail(self, fault: str, request: web.Request, body: Body) -> web.StreamResponse:
        match fault:
            case "429" | "429 with Retry-After":
                return self._refusal(retry_after="Retry" in fault)
            case "500" | "503":
                return _error(int(fault), "on purpose")
            case "400 names a parameter":
                text = "Unsupported parameter: 'temperature' is not supported with this model."
                return _error(400, text, param="temperature")
            case "hang":
                await asyncio.sleep(3600)
            case "reset":
                return _drop(request)
            case "slow body" | "cut connection":
                return await _in_pieces(request, _completion(body), cut=fault == "cut connection")
        return web.Response(text=_spoiled(fault, body), content_type="application/json")

    def _refusal(self, *, retry_after: bool) -> web.Response:
        wait = {"Retry-After": str(_RETRY_AFTER_S)} if retry_after else {}
        return _error(429, "Rate limit reached", headers={**self._headers(), **wait})

    def _headers(self) -> dict[str, str]:
        return self._bucket.headers() if self._bucket and self._args.headers else {}

    async def stats(self, _: web.Request) -> web.Response:
        """GET /stats."""
        return web.json_response(self.counts.to_json())

    async def kill(self, request: web.Request) -> web.Response:
        """POST /kill: at the N-th request from now on."""
        order = await request.json()
        self._victim = (order["pid"], self.counts.asked.total() + order["after"])
        return web.json_response({})

    async def killed(self, _: web.Request) -> web.Response:
        """POST /killed: by somebody else, just now."""
        self._victim = None
        self.counts.killed.append(self.counts.open)
        return web.json_response({})

    def _kill_if_due(self) -> None:
        if self._victim is not None and self.counts.asked.total() >= self._victim[1]:
            pid, self._victim = self._victim[0], None
            os.kill(pid, signal.SIGKILL)
            self.counts.killed.append(self.counts.open)


def _hash(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _uniform(*parts: object, count: int) -> list[float]:
    """Numbers in [0, 1) that depend on `parts` alone."""
    digits = _hash(*parts)
    return [int(digits[8 * i : 8 * i + 8], 16) / 16**8 for i in range(count)]


def _completion(body: Body) -> Body:
    """Yes or No, with the probabilities of both."""
    (yes,) = _uniform(body["messages"], count=1)
    shares = {"Yes": 0.01 + 0.98 * yes, "No": 0.99 - 0.98 * yes}
    listed = [{"token": word, "logprob": math.log(share)} for word, share in shares.items()]
    chosen = max(listed, key=lambda entry: float(str(entry["logprob"])))
    message = {"role": "assistant", "content": chosen["token"]}
    choice: Body = {"index": 0, "finish_reason": "stop", "message": message}
    if body.get("logprobs"):
        choice["logprobs"] = {"content": [{**chosen, "top_logprobs": listed}]}
    usage = {"prompt_tokens": 50, "completion_tokens": 1, "total_tokens": 51}
    return {"id": "x", "model": "faulty", "choices": [choice], "usage": usage}


def _spoiled(fault: str, body: Body) -> str:
    """The text of an answer with this fault."""
    answer = _completion(body)
    choice = answer["choices"][0]
    match fault:
        case "choice without message":
            del choice["message"]
        case "duplicated choice":
            answer["choices"].append(choice)
        case "NaN" if "logprobs" in choice:
            choice["logprobs"]["content"][0]["logprob"] = math.nan
        case "no choices" | "NaN":
            answer["choices"] = []
    text = json.dumps(answer)
    if fault == "truncated JSON":
        return text[: len(text) // 2]
    return text.replace(":", "=") if fault == "invalid JSON" else text


def _error(
    status: int, message: str, *, headers: dict[str, str] | None = None, **more: str
) -> web.Response:
    body = {"error": {"message": message, **more}}
    return web.json_response(body, status=status, headers=headers)


def _drop(request: web.Request) -> web.Response:
    if isinstance(request.transport, asyncio.Transport):
        request.transport.abort()
    return web.Response()


async def _in_pieces(request: web.Request, answer: Body, *, cut: bool) -> web.StreamResponse:
    """Send the answer slowly, or its first half and then nothing more."""
    text = json.dumps(answer).encode()
    half = len(text) // 2
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    response.content_length = len(text)
    await response.prepare(request)
    await response.write(text[:half])
    await asyncio.sleep(_SLOW_S)
    if cut:
        _drop(request)
        return response
    await response.write(text[half:])
    return response


async def _serve(args: argparse.Namespace) -> None:
    server = FaultyServer(args)
    app = web.Application(client_max_size=1 << 26)
    app.router.add_post("/v1/chat/completions", server.chat)
    app.router.add_get("/stats", server.stats)
    app.router.add_post("/kill", server.kill)
    app.router.add_post("/killed", server.killed)
    runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
    partial = args.port_file.with_suffix(".partial")
    partial.write_text(str(runner.addresses[0][1]))
    partial.replace(args.port_file)
    await asyncio.Event().wait()


class Served:
    """A server in a process of its own, see `serving`."""

    def __init__(self, port: int) -> None:
        self._root = f"http://127.0.0.1:{port}"
        self.url = f"{self._root}/v1"

    def stats(self) -> Body:
        """What it has counted so far."""
        with urllib.request.urlopen(f"{self._root}/stats") as reply:
            stats: Body = json.load(reply)
        return stats

    def kill(self, pid: int, *, after: int) -> None:
        """Have it kill a process at a request to come."""
        self._post("kill", {"pid": pid, "after": after})

    def killed(self) -> None:
        """Tell it that its client was just killed."""
        self._post("killed", {})

    def _post(self, path: str, body: Body) -> None:
        data = json.dumps(body).encode()
        with urllib.request.urlopen(f"{self._root}/{path}", data=data):
            pass


@contextmanager
def serving(
    scratch: Path, *options: str, server: str = "benchmarks.faulty_server"
) -> Iterator[Served]:
    """Start the server with these options; it ends with the block.

    Args:
        scratch: A directory for the file with its port.
        options: Of its command line.
        server: Another module whose command line takes --port-file.
    """
    port_file = scratch / f"port-{time.monotonic_ns()}"
    command = [sys.executable, "-m", server, "--port-file", str(port_file)]
    process = subprocess.Popen([*command, *options])
    try:
        while not port_file.exists():
            if process.poll() is not None:
                raise SystemExit(f"the server ended with status {process.returncode}")
            time.sleep(0.05)
        yield Served(int(port_file.read_text()))
    finally:
        process.kill()
        process.wait()


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port-file", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--faults", type=float, default=0.0, help="share of requests that fail")
    parser.add_argument("--refuse", type=float, default=0.0, help="share of 429s at random")
    parser.add_argument("--latency", type=float, default=0.02, help="seconds per answer")
    parser.add_argument("--rate", type=float, help="requests allowed per second; 429 beyond")
    parser.add_argument("--headers", action="store_true", help="tell the rate in headers")
    parser.add_argument("--retry-after", action="store_true", help="429s beyond the rate tell it")
    asyncio.run(_serve(parser.parse_args()))


if __name__ == "__main__":
    main()
