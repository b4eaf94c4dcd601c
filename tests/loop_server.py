"""A judge and a platform that trains, for loops: 60 rows, of which every second one is wrong."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from pathlib import Path

from aiohttp import web

from jobs_server import JobsServer
from stub_server import Body, completion, text_choice

ROWS = 60
GOOD = 30
_RESPONSE = re.compile(r"<response-([AB])>\n(.*?)\n</response-\1>", re.DOTALL)
_BESIDE = re.compile(r"Is response ([AB]) the right")


def write_rows(path: Path, rows: int = ROWS) -> Path:
    """Rows with an odd number are right, the others wrong; no two are alike."""
    lines = [
        {"prompt": f"thing {n}?", "completion": f"{'right' if n % 2 else 'wrong'} {n}"}
        for n in range(rows)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def judged(body: Body) -> Body:
    """The reply of a judge that knows what is right, a little surer of some rows than of others."""
    text = str(body["messages"][-1]["content"])
    beside = _BESIDE.search(text)
    shown = text if beside is None else dict(_RESPONSE.findall(text))[beside[1]]
    number = int(re.findall(r"\d+", shown)[-1]) if re.search(r"\d", shown) else 0
    yes = (0.9 if "right" in shown.replace("the right", "") else 0.1) - number / 1000
    listed = [
        {"token": word, "logprob": math.log(p)} for word, p in (("Yes", yes), ("No", 1 - yes))
    ]
    logprobs = {"content": [{**listed[0], "top_logprobs": listed}]}
    usage = {"prompt_tokens": 10, "completion_tokens": 1, "total_tokens": 11}
    return completion(body, [text_choice("Yes", logprobs=logprobs)], usage=usage)


def is_verdict(body: Body) -> bool:
    """Whether a judge is asked about one of two responses."""
    return _BESIDE.search(str(body["messages"][-1]["content"])) is not None


async def judge(body: Body) -> web.StreamResponse:
    """Answers as `judged` does."""
    return web.json_response(judged(body))


class Platform(JobsServer):
    """Trains, and serves what it trained: a model of the n-th job is `ft-n`, and is always right.

    The base is right about every fourth thing.

    Attributes:
        asked_models: The bodies of chat requests, in order.
        answering: Called with a body before it is answered.
    """

    def __init__(self) -> None:
        super().__init__()
        self.asked_models: list[Body] = []
        self.answering: Callable[[Body], None] = lambda _: None
        self.created = self._name_model

    def _name_model(self) -> None:
        self.model = f"ft-{len(self.jobs)}"

    def _app(self) -> web.Application:
        app = super()._app()
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_get("/v1/models", self._models)
        return app

    async def _chat(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.asked_models.append(body)
        self.answering(body)
        number = int(re.findall(r"\d+", str(body["messages"][-1]["content"]))[-1])
        right = str(body["model"]).startswith("ft") or number % 4 == 1
        text = f"{'right' if right else 'else'} {number}"
        return web.json_response(completion(body, [text_choice(text)]))

    async def _models(self, _: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": "base"}]})
