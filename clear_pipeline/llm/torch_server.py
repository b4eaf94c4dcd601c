"""A model in torch behind the API that every other endpoint has, on loopback, in this process."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, TypeVar

import torch
from aiohttp import web
from pydantic import ValidationError

from clear_pipeline.llm.torch_model import Answer, Sample, TokenScore, TorchModel
from clear_pipeline.llm.torch_question import Question, RefusedError

T = TypeVar("T")

_MOST_BYTES: Final = 64 << 20
"""Of a request."""


class TorchServer:
    """Answers `/v1/chat/completions` of one model at a free port of 127.0.0.1 until it is closed.

    One question is computed after the other. It ends with the process, and wants no key.

    Args:
        weights: Directory of the model.
        name: As it is served.

    Attributes:
        listening_address: Where, without a path.

    Raises:
        UsageError: As `TorchModel`.
        OSError: It cannot listen.
    """

    def __init__(self, weights: Path, name: str) -> None:
        self._model = TorchModel(weights)
        self._name = name
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="torch")
        self._loop = asyncio.new_event_loop()
        self._started = threading.Event()
        self._failure: Exception | None = None
        self.listening_address = ""
        self._thread = threading.Thread(target=self._serve, daemon=True, name="torch server")
        self._thread.start()
        self._started.wait()
        if self._failure is not None:
            self._thread.join()
            self._worker.shutdown()
            raise self._failure

    def close(self) -> None:
        """Stop; what is being computed ends at its next token."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._worker.shutdown()

    def _serve(self) -> None:
        try:
            runner = self._loop.run_until_complete(self._listening())
        except Exception as error:  # noqa: BLE001 -- whoever waits for the start is told
            self._failure = error
            self._loop.close()
            return
        finally:
            self._started.set()
        self._loop.run_forever()
        self._loop.run_until_complete(runner.cleanup())
        self._loop.close()

    async def _listening(self) -> web.AppRunner:
        app = web.Application(client_max_size=_MOST_BYTES)
        app.router.add_get("/v1/models", self._models)
        app.router.add_post("/tokenize", self._tokenize)
        app.router.add_post("/v1/chat/completions", self._chat)
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        self.listening_address = f"http://{host}:{port}"
        return runner

    async def _models(self, _request: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": self._name}]})

    async def _tokenize(self, request: web.Request) -> web.Response:
        """How many tokens a prompt or a text has, as vLLM tells it."""
        body = await _json(request)
        asked = body.get("prompt")
        if not isinstance(asked, str):
            asked = _question(body)
        return web.json_response({"count": await self._computed(self._model.count, asked)})

    async def _chat(self, request: web.Request) -> web.Response:
        question = _question(await _json(request))
        cancelled = threading.Event()
        try:
            answer = await self._computed(self._model.answer, question, cancelled.is_set)
        finally:
            cancelled.set()
        return web.json_response(_reply(question, answer, self._name))

    async def _computed(self, work: Callable[..., T], *given: object) -> T:
        """What comes of work that is done in the one thread that computes."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._worker, work, *given)
        except RefusedError as error:
            raise _refused(str(error)) from error
        except torch.OutOfMemoryError as error:
            raise _refused(
                "the GPU has too little memory for this request: ask for fewer samples at once or "
                "fewer tokens, shorten the prompt, or free memory"
            ) from error
        except Exception as error:  # of one request: the server is well, and goes on with the next
            why = f"{type(error).__name__}: {error}".splitlines()[0]
            raise _refused(f"the model cannot compute this request ({why}): change it") from error


async def _json(request: web.Request) -> dict[str, Any]:
    try:
        body = await request.json()
    except ValueError as error:
        raise _refused("the body is no JSON") from error
    if not isinstance(body, dict):
        raise _refused("the body is no JSON object")
    return body


def _question(body: Mapping[str, Any]) -> Question:
    try:
        return Question.model_validate(body)
    except ValidationError as error:
        found = error.errors()[0]
        place = ".".join(str(part) for part in found["loc"])
        raise _refused(f"{place} {found['msg']}".strip()) from error


def _refused(why: str) -> web.HTTPBadRequest:
    error = {"message": why, "type": "invalid_request_error"}
    return web.HTTPBadRequest(text=json.dumps({"error": error}), content_type="application/json")


def _reply(question: Question, answer: Answer, name: str) -> dict[str, Any]:
    completion = sum(sample.computed for sample in answer.samples)
    reply: dict[str, Any] = {
        "id": "chatcmpl-torch",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": name,
        "choices": [
            _choice(number, sample, told=question.logprobs)
            for number, sample in enumerate(answer.samples)
        ],
        "usage": {
            "prompt_tokens": answer.prompt_tokens,
            "completion_tokens": completion,
            "total_tokens": answer.prompt_tokens + completion,
        },
    }
    if answer.prompt is not None:
        reply["prompt_logprobs"] = [None, *map(_scored, answer.prompt)]
    return reply


def _choice(number: int, sample: Sample, *, told: bool) -> dict[str, Any]:
    return {
        "index": number,
        "message": {"role": "assistant", "content": sample.text},
        "finish_reason": sample.finish_reason,
        "logprobs": {"content": _tokens(sample.tokens)} if told else None,
    }


def _tokens(tokens: Sequence[TokenScore]) -> list[dict[str, Any]]:
    return [
        {
            **_token(token.text, token.logprob),
            "top_logprobs": [_token(text, logprob) for text, logprob in token.top],
        }
        for token in tokens
    ]


def _token(text: str, logprob: float) -> dict[str, Any]:
    return {"token": text, "logprob": logprob, "bytes": list(text.encode("utf-8", "replace"))}


def _scored(token: TokenScore) -> Mapping[str, Any]:
    return {str(token.id): {"logprob": token.logprob, "decoded_token": token.text}}
