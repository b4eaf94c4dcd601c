"""A real OpenAI-compatible server on loopback, with replies and faults on order.

In a test::

    with StubServer() as server:
        server.faults.append(status(429, headers={"Retry-After": "0"}))
        ...  # ask at server.url
        assert server.bodies[0]["temperature"] == 0.0

As a process, for tests that kill the client: `python tests/stub_server.py --port-file F` writes
its port to F once it listens; GET /stats then tells how often each question was asked.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import math
import re
import threading
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from aiohttp import web

from loopback import LoopbackServer, sent_key

Body = dict[str, Any]
Reply = Callable[[Body], Awaitable[web.StreamResponse]]


class StubServer(LoopbackServer):
    """Serves /v1/chat/completions, /v1/embeddings and /v1/models from a thread of its own.

    Args:
        reply: Answers a request that no fault was ordered for.
        llama_slots: Claim to be a llama.cpp of so many slots, which refuses a larger `n`.
        delay: Seconds that each answer takes.
        counts: Count tokens when asked, as a llama.cpp or a vLLM does, in pieces of `vllm_tokens`.

    Attributes:
        faults: Taken one per request, in order, before `reply`. May be filled while it runs.
        extra_faults: The same for requests that ask the model nothing: for /props, for the list
            of models, and those that count tokens.
        bodies: The bodies of all chat requests, in order of arrival.
        embedded: The bodies of all requests for embeddings; faults hold for these as well.
        keys: The API keys that came with chat requests.
        arrivals: When each came, in seconds of the monotonic clock.
        most_open: The largest number of chat requests that were open at once.
    """

    def __init__(
        self,
        reply: Reply | None = None,
        *,
        llama_slots: int | None = None,
        delay: float = 0.0,
        counts: bool = False,
    ) -> None:
        super().__init__()
        self._reply = reply or answer
        self._slots = llama_slots
        self._delay = delay
        self._counts = counts
        self._open = 0
        self.faults: deque[Reply] = deque()
        self.extra_faults: deque[Reply] = deque()
        self.bodies: list[Body] = []
        self.embedded: list[Body] = []
        self.keys: list[str] = []
        self.arrivals: list[float] = []
        self.most_open = 0

    def answer_with(self, reply: Reply) -> None:
        """Answer by `reply` from now on, which may look at this server."""
        self._reply = reply

    def counts(self) -> Counter[str]:
        """How often each question about a row came; the key is a hash of its body."""
        return Counter(question(body) for body in self.bodies if not asks_ability(body))

    def _app(self) -> web.Application:
        app = web.Application(client_max_size=1 << 26)
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_post("/v1/embeddings", self._embeddings)
        app.router.add_get("/v1/models", self._models)
        app.router.add_get("/stats", self._stats)
        if self._slots is not None:
            app.router.add_get("/props", self._props)
        if self._counts:
            app.router.add_post("/tokenize", self._tokenize)
            app.router.add_post("/apply-template", self._template)
        return app

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.bodies.append(body)
        self.arrivals.append(time.monotonic())
        self.keys.append(sent_key(request))
        self._open += 1
        self.most_open = max(self.most_open, self._open)
        try:
            if self._delay:
                await asyncio.sleep(self._delay)
            if self.faults:
                return await self.faults.popleft()(body)
            if self._slots is not None and body.get("n", 1) > self._slots:
                text = f"Field 'n': Value must be between 1 <= value <= {self._slots}"
                return await status(400, message=text)(body)
            return await self._reply(body)
        finally:
            self._open -= 1

    async def _embeddings(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.embedded.append(body)
        if self.faults:
            return await self.faults.popleft()(body)
        given = body["input"]
        texts = [given] if isinstance(given, str) else given
        data = [{"index": n, "embedding": [float(len(text)), 1.0]} for n, text in enumerate(texts)]
        usage = {"prompt_tokens": 3 * len(texts), "total_tokens": 3 * len(texts)}
        return web.json_response({"data": data, "model": "stub-2026", "usage": usage})

    async def _models(self, _: web.Request) -> web.StreamResponse:
        if self.extra_faults:
            return await self.extra_faults.popleft()({})
        return web.json_response({"object": "list", "data": [{"id": "stub"}, {"id": "other"}]})

    async def _props(self, _: web.Request) -> web.StreamResponse:
        if self.extra_faults:
            return await self.extra_faults.popleft()({})
        return web.json_response({"total_slots": self._slots})

    async def _tokenize(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        if self.extra_faults:
            return await self.extra_faults.popleft()(body)
        if "messages" in body:
            return web.json_response({"count": len(vllm_tokens(body))})
        pieces = _PIECES.findall(body.get("content", body.get("prompt")))
        return web.json_response({"tokens": [*range(len(pieces))], "count": len(pieces)})

    async def _template(self, request: web.Request) -> web.Response:
        return web.json_response({"prompt": "".join(vllm_tokens(await request.json()))})

    async def _stats(self, _: web.Request) -> web.Response:
        counts = self.counts()
        return web.json_response(
            {"calls": counts.total(), "most_open": self.most_open, "counts": counts}
        )


def asks_ability(body: Body) -> bool:
    """Whether it asks how likely a "Yes" to nothing is, only to see whether an answer comes."""
    said = [message["content"] for message in body["messages"]]
    return body["max_tokens"] == 1 and said in ([""], ["", "Yes"])


def question(body: Body) -> str:
    """A short hash of what was asked: the same for the same question."""
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:16]


def uniform(body: Body, salt: str) -> float:
    """A number in (0, 1) that depends on the messages and `salt` alone."""
    text = json.dumps([body["messages"], salt], sort_keys=True)
    return (int(hashlib.sha256(text.encode()).hexdigest()[:12], 16) + 1) / (16**12 + 1)


_OFFERED = re.compile(r"Reply with one \w+: ([^.]*)\.?\s*$")


def _choice(body: Body, index: int) -> Body:
    """A word that the prompt offers, or free text; with log-probabilities if asked for."""
    sample = str(body.get("seed", 0) + index)
    offered = _OFFERED.search(str(body["messages"][-1]["content"]))
    words = re.split(r",? or |, ", offered[1].split(" if ")[0]) if offered else []
    if not words:
        words = [f"reply {math.floor(1e6 * uniform(body, sample))}"]
    weights = {word: uniform(body, word) for word in words}
    total = sum(weights.values())
    text = max(words, key=lambda word: weights[word] * uniform(body, word + sample))
    choice: Body = {
        "index": index,
        "finish_reason": "stop",
        "message": {"role": "assistant", "content": text},
    }
    if body.get("logprobs"):
        listed = [{"token": w, "logprob": math.log(weights[w] / total)} for w in words]
        chosen = next(entry for entry in listed if entry["token"] == text)
        choice["logprobs"] = {"content": [{**chosen, "top_logprobs": listed}]}
    return choice


def completion(body: Body, choices: list[Body] | None = None, **fields: Any) -> Body:  # noqa: ANN401
    """The JSON of a whole reply; `fields` replace its members."""
    if choices is None:
        choices = [_choice(body, i) for i in range(body.get("n", 1))]
    usage = {"prompt_tokens": 10, "completion_tokens": 2 * len(choices), "total_tokens": 12}
    return {
        "id": "stub",
        "object": "chat.completion",
        "model": "stub-2026",
        "choices": choices,
        "usage": usage,
        **fields,
    }


def text_choice(text: str | None, *, index: int = 0, **fields: Any) -> Body:  # noqa: ANN401
    """One choice that says `text`; `fields` replace its members."""
    message = {"role": "assistant", "content": text}
    return {"index": index, "finish_reason": "stop", "message": message, **fields}


async def answer(body: Body) -> web.StreamResponse:
    """All samples that were asked for, the same ones for the same messages and seed."""
    return web.json_response(completion(body))


def says(*choices: Body, **fields: Any) -> Reply:  # noqa: ANN401
    """Answer with these choices, however many were asked for."""

    async def reply(body: Body) -> web.StreamResponse:
        return web.json_response(completion(body, list(choices), **fields))

    return reply


def at_most(count: int) -> Reply:
    """Answer with no more than `count` samples, as servers do that ignore `n`."""

    async def reply(body: Body) -> web.StreamResponse:
        return web.json_response(completion({**body, "n": min(count, body.get("n", 1))}))

    return reply


def status(
    code: int, /, *, message: str = "no", headers: dict[str, str] | None = None, **error: str | int
) -> Reply:
    """Answer with an HTTP error; `error` adds members, such as param or code."""

    async def reply(_: Body) -> web.StreamResponse:
        return web.json_response(
            {"error": {"message": message, **error}}, status=code, headers=headers
        )

    return reply


def refuses(parameter: str, *, message: str | None = None) -> Reply:
    """Refuse requests with `parameter`, answer others: use as the server's `reply`."""
    text = message or f"Unsupported parameter: '{parameter}' is not supported with this model."

    async def reply(body: Body) -> web.StreamResponse:
        if parameter in body:
            return await status(400, message=text, param=parameter)(body)
        return await answer(body)

    return reply


_PIECES = re.compile(r"<\|\w+\|>|[^\W\d_]+|[^\S\n]|\S|\n")


def vllm_tokens(body: Body) -> list[str]:
    """The prompt in ChatML, cut into pieces; the last turn may be left open."""
    turns = [f"<|im_start|>{m['role']}\n{m['content'].strip()}" for m in body["messages"]]
    text = "<|im_end|>\n".join(turns)
    if not body.get("continue_final_message"):
        text += "<|im_end|>\n"
        if body.get("add_generation_prompt", True):
            text += "<|im_start|>assistant\n"
    return _PIECES.findall(text)


def vllm_logprob(before: list[str], token: str) -> float:
    """How likely this stub's model finds a token: far likelier where it came before."""
    return -0.25 if token in before else -4.0


_GRAMMAR = re.compile(r'root ::= "(.*)"', re.DOTALL)
_ESCAPE = re.compile(r"\\(?:u([0-9A-F]{4})|U([0-9A-F]{8})|(.))")


async def llama(body: Body) -> web.StreamResponse:
    """Answer as a llama.cpp does, which says what a grammar of one sentence allows."""
    found = _GRAMMAR.fullmatch(body.get("grammar", ""))
    if found is None:
        return await answer(body)
    text = _ESCAPE.sub(lambda m: m[3] or chr(int(m[1] or m[2], 16)), found[1])
    pieces = _PIECES.findall(text)
    said = pieces[: body["max_tokens"]]
    content = [{"token": piece, "logprob": -1.0, "top_logprobs": []} for piece in said]
    finish = "stop" if said == pieces else "length"
    choice = text_choice("".join(said), logprobs={"content": content}, finish_reason=finish)
    return await says(choice)(body)


async def vllm(body: Body) -> web.StreamResponse:
    """Answer as a vLLM does, `prompt_logprobs` included: use as the server's `reply`."""
    if body.get("continue_final_message") and body.get("add_generation_prompt", True):
        text = "Cannot set both `continue_final_message` and `add_generation_prompt` to True."
        return await status(400, message=text)(body)
    tokens = vllm_tokens(body)
    usage = {"prompt_tokens": len(tokens), "completion_tokens": 1, "total_tokens": len(tokens) + 1}
    scored: list[Body | None] | None = None
    if (others := body.get("prompt_logprobs")) is not None:
        # The token that stands there comes first, the most likely others after it.
        scored = [None]
        for place in range(1, len(tokens)):
            logprob = vllm_logprob(tokens[:place], tokens[place])
            entry = {"logprob": logprob, "rank": 2, "decoded_token": tokens[place]}
            rest = {
                str(n): {"logprob": -0.1, "rank": n, "decoded_token": "!"} for n in range(others)
            }
            scored.append({str(1000 + place): entry, **rest})
    reply = completion(body, usage=usage, prompt_logprobs=scored, kv_transfer_params=None)
    return web.json_response(reply)


async def hang(_: Body) -> web.StreamResponse:
    """Never answer."""
    await asyncio.Event().wait()
    raise AssertionError


async def page(body: Body) -> web.StreamResponse:
    """A web page, as something that is no model server answers everything."""
    return web.Response(text="<html>It works!</html>", content_type="text/html")


def written(text: str) -> Reply:
    """Answer with this text, as JSON."""

    async def reply(_: Body) -> web.StreamResponse:
        return web.Response(text=text, content_type="application/json")

    return reply


async def truncated(body: Body) -> web.StreamResponse:
    """Answer with JSON that ends too early."""
    text = json.dumps(completion(body))
    return web.Response(text=text[: len(text) // 2], content_type="application/json")


async def nested(_: Body) -> web.StreamResponse:
    """Answer with JSON that is nested too deeply for any reader."""
    return web.Response(text="[" * 200_000, content_type="application/json")


async def no_utf8(_: Body) -> web.StreamResponse:
    """Answer with JSON in which a byte is no UTF-8."""
    return web.Response(body=b'{"text": "Yes\xff"}', content_type="application/json")


async def dropped(_: Body) -> web.StreamResponse:
    """Close the connection without an answer."""
    return _Raw(b"")


async def no_http(_: Body) -> web.StreamResponse:
    """Answer in another protocol."""
    return _Raw(b"220 mail.example ESMTP\r\n\r\n")


class _Raw(web.StreamResponse):
    """Bytes in place of a response, then the end of the connection."""

    def __init__(self, sent: bytes) -> None:
        super().__init__()
        self._sent = sent

    async def prepare(self, request: web.BaseRequest) -> None:
        """Write the bytes and close."""
        transport = request.transport
        assert isinstance(transport, asyncio.Transport)
        transport.write(self._sent)
        transport.close()
        raise ConnectionResetError


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port-file", type=Path, required=True)
    parser.add_argument("--delay", type=float, default=0.0)
    parser.add_argument("--llama-slots", type=int)
    args = parser.parse_args()
    with StubServer(llama_slots=args.llama_slots, delay=args.delay) as server:
        partial = args.port_file.with_suffix(".partial")
        partial.write_text(str(server.port))
        partial.replace(args.port_file)
        threading.Event().wait()


if __name__ == "__main__":
    main()
