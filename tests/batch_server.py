"""A real server of OpenAI's Batch API on loopback, with its paths, states and ways to fail.

In a test::

    with BatchServer() as server:
        server.outcome = lambda id_, asked: "expire" if asked == 1 else "answer"
        ...  # ask at server.url
        assert server.answered.total() == 12

A batch moves one state further each time that it is looked at.
"""

from __future__ import annotations

import json
import random
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from aiohttp import web

from loopback import LoopbackServer, sent_key
from stub_server import Body, Reply, answer, completion, status

Outcome = Literal["answer", "fail", "expire", "lose"]
"""answer: in the output file. fail: HTTP 500 in the error file. expire: `batch_expired` there.
lose: in neither."""

COURSE = ("in_progress", "finalizing", "completed")
"""States after `validating`, one for each look."""


@dataclass
class File:
    """An uploaded or produced file."""

    id: str
    name: str
    content: bytes

    def to_json(self) -> Body:
        return {
            "id": self.id, "object": "file", "bytes": len(self.content), "created_at": 1,
            "filename": self.name, "purpose": "batch", "status": "processed",
        }  # fmt: skip


@dataclass
class Batch:
    """A batch and where it goes."""

    id: str
    input_file: str
    metadata: dict[str, str]
    window: str
    course: deque[str]
    status: str = "validating"
    lines: list[Body] = field(default_factory=list)
    output_file: str | None = None
    error_file: str | None = None
    completed: int = 0
    failed: int = 0
    errors: list[Body] = field(default_factory=list)

    def to_json(self) -> Body:
        return {
            "id": self.id, "object": "batch", "endpoint": "/v1/chat/completions",
            "completion_window": self.window, "created_at": 1, "input_file_id": self.input_file,
            "status": self.status, "metadata": self.metadata,
            "output_file_id": self.output_file, "error_file_id": self.error_file,
            "errors": {"object": "list", "data": self.errors} if self.errors else None,
            "request_counts": {
                "total": len(self.lines), "completed": self.completed, "failed": self.failed,
            },
        }  # fmt: skip


class BatchServer(LoopbackServer):
    """Serves /v1/files, /v1/batches and /v1/chat/completions from a thread of its own.

    Args:
        seed: Of the order of results.

    Attributes:
        course: States of the batches that are created from now on, `validating` left out.
        outcome: What becomes of a request, by its id and how often it has been asked.
        reply: The body of an answer to a body; one with `error` is a refusal, by HTTP 400 or the
            `status` beside it.
        odd_lines: Put among the results of every batch.
        max_requests: A batch with more fails as a whole, as does one without JSON lines.
        page: Entries of one page of a list.
        uploaded: Called when a file is there, before the client is told.
        created: Called when a batch is there, before the client is told.
        fetched: Called when a file of results is asked for, before it is sent.
        faults: Taken one per request to any path of the Batch API, in order, before it is served.
        live: Bodies of chat requests.
        asked: How often each id came in a batch.
        answered: How often each id was answered, with its tokens in `prompt` and `completion`.
        batches: By id, in order of creation.
        files: By id.
        keys: The API keys that came.
        hosts: To which names of this machine requests came, and how many.
    """

    def __init__(self, *, seed: int = 0) -> None:
        super().__init__()
        self._random = random.Random(seed)
        self._numbers = 0
        self.course: tuple[str, ...] = COURSE
        self.outcome: Callable[[str, int], Outcome] = lambda _, __: "answer"
        self.reply: Callable[[Body], Body] = completion
        self.odd_lines: Callable[[list[str]], Iterable[str]] = lambda _: ()
        self.max_requests = 50_000
        self.page = 100
        self.uploaded: Callable[[], None] = lambda: None
        self.created: Callable[[], None] = lambda: None
        self.fetched: Callable[[], None] = lambda: None
        self.faults: deque[Reply] = deque()
        self.live: list[Body] = []
        self.asked: Counter[str] = Counter()
        self.answered: Counter[str] = Counter()
        self.prompt = 0
        self.completion = 0
        self.batches: dict[str, Batch] = {}
        self.files: dict[str, File] = {}
        self.keys: set[str] = set()
        self.hosts: Counter[str] = Counter()

    def _app(self) -> web.Application:
        app = web.Application(client_max_size=1 << 28, middlewares=[self._faulty])
        app.router.add_post("/v1/files", self._upload)
        app.router.add_get("/v1/files", self._list_files)
        app.router.add_get("/v1/files/{id}/content", self._content)
        app.router.add_post("/v1/batches", self._create)
        app.router.add_get("/v1/batches", self._list_batches)
        app.router.add_get("/v1/batches/{id}", self._retrieve)
        app.router.add_post("/v1/batches/{id}/cancel", self._cancel)
        app.router.add_post("/v1/chat/completions", self._chat)
        return app

    @web.middleware
    async def _faulty(self, request: web.Request, handler: Any) -> web.StreamResponse:  # noqa: ANN401
        self.hosts[request.host] += 1
        self.keys.add(sent_key(request))
        if self.faults and "chat" not in request.path:
            return await self.faults.popleft()({})
        served: web.StreamResponse = await handler(request)
        return served

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.live.append(body)
        return await answer(body)

    async def _upload(self, request: web.Request) -> web.StreamResponse:
        form = await request.post()
        part = form["file"]
        if form["purpose"] != "batch" or not isinstance(part, web.FileField):
            return await status(400, message="purpose must be batch")({})
        shown = web.json_response(self._store(part.filename, part.file.read()).to_json())
        self.uploaded()
        return shown

    async def _list_files(self, request: web.Request) -> web.Response:
        return self._listed(request, [file.to_json() for file in self.files.values()])

    async def _content(self, request: web.Request) -> web.StreamResponse:
        file = self.files.get(request.match_info["id"])
        if file is None:
            return await status(404, message="no such file")({})
        self.fetched()
        return web.Response(body=file.content, content_type="application/octet-stream")

    async def _create(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        file = self.files.get(body["input_file_id"])
        if file is None or body["endpoint"] != "/v1/chat/completions":
            return await status(400, message="no such file or endpoint")({})
        batch = Batch(
            self._id("batch"), file.id, body.get("metadata") or {}, body["completion_window"],
            deque(self.course),
        )  # fmt: skip
        self.batches[batch.id] = batch
        self._validate(batch, file)
        shown = web.json_response(batch.to_json())
        self.created()
        return shown

    def _validate(self, batch: Batch, file: File) -> None:
        try:
            batch.lines = [json.loads(line) for line in file.content.splitlines()]
            ids = {line["custom_id"] for line in batch.lines}
            fit = all(line["method"] == "POST" and line["body"]["model"] for line in batch.lines)
        except (ValueError, KeyError):
            ids, fit = set(), False
        if not fit or len(ids) < len(batch.lines) or len(ids) > self.max_requests:
            batch.course = deque(["failed"])
            message = f"the file is not valid, or has more than {self.max_requests} requests"
            batch.errors = [{"code": "invalid_file", "message": message, "line": None}]

    async def _list_batches(self, request: web.Request) -> web.Response:
        return self._listed(request, [batch.to_json() for batch in self.batches.values()])

    async def _retrieve(self, request: web.Request) -> web.StreamResponse:
        batch = self.batches.get(request.match_info["id"])
        if batch is None:
            return await status(404, message="no such batch")({})
        if batch.course:
            batch.status = batch.course.popleft()
            if not batch.course and batch.status != "failed":
                self._finish(batch)
        return web.json_response(batch.to_json())

    async def _cancel(self, request: web.Request) -> web.Response:
        batch = self.batches[request.match_info["id"]]
        batch.status, batch.course = "cancelling", deque(["cancelled"])
        return web.json_response(batch.to_json())

    def _finish(self, batch: Batch) -> None:
        """Answer; one that is cancelled has come half way, one that expires as `outcome` says."""
        output, errors = [], []
        work = batch.lines[: len(batch.lines) // 2] if batch.status == "cancelled" else batch.lines
        for line in work:
            id_ = line["custom_id"]
            self.asked[id_] += 1
            match self.outcome(id_, self.asked[id_]):
                case "answer":
                    output.append(self._answered(id_, line["body"]))
                case "fail":
                    body = {"error": {"message": "the server had an error", "code": None}}
                    errors.append(result_line(id_, 500, body))
                case "expire":
                    errors.append(error_line(id_, "batch_expired"))
                case "lose":
                    pass
        batch.completed, batch.failed = len(output), len(errors)
        output += self.odd_lines(output)
        self._random.shuffle(output)
        batch.output_file = self._produced(output)
        batch.error_file = self._produced(errors)

    def _answered(self, id_: str, body: Body) -> str:
        reply = self.reply(body)
        code = reply.pop("status", 400) if "error" in reply else 200
        if code == 200:
            self.answered[id_] += 1
            self.prompt += reply["usage"]["prompt_tokens"]
            self.completion += reply["usage"]["completion_tokens"]
        return result_line(id_, code, reply)

    def _produced(self, lines: list[str]) -> str | None:
        return self._store("results.jsonl", "".join(lines).encode()).id if lines else None

    def _store(self, name: str, content: bytes) -> File:
        file = File(self._id("file"), name, content)
        self.files[file.id] = file
        return file

    def _id(self, kind: str) -> str:
        self._numbers += 1
        return f"{kind}-{self._numbers}"

    def _listed(self, request: web.Request, entries: list[Body]) -> web.Response:
        """One page, the newest first."""
        entries.reverse()
        after = request.query.get("after")
        if after is not None:
            entries = entries[[entry["id"] for entry in entries].index(after) + 1 :]
        page = entries[: min(self.page, int(request.query.get("limit", "20")))]
        more = len(entries) > len(page)
        return web.json_response({"object": "list", "data": page, "has_more": more})


def result_line(id_: str, code: int, body: Body) -> str:
    """A line of results for a request that was sent."""
    response = {"status_code": code, "request_id": f"req-{id_}", "body": body}
    line = {"id": f"batch_req-{id_}", "custom_id": id_, "response": response, "error": None}
    return json.dumps(line) + "\n"


def error_line(id_: str, code: str) -> str:
    """A line of results for a request that was not sent."""
    error = {"code": code, "message": "not executed before the completion window expired"}
    line = {"id": f"batch_req-{id_}", "custom_id": id_, "response": None, "error": error}
    return json.dumps(line) + "\n"
