"""A real server of OpenAI's fine-tuning jobs API on loopback, with its states and ways to fail.

In a test::

    with JobsServer() as server:
        server.course = ("running", "paused", "running", "succeeded")
        ...  # train at server.url
        assert len(server.jobs) == 1

A job moves one state further each time that it is looked at. Hooks are called while the client
waits, so that a test can kill it there.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from loopback import LoopbackServer, sent_key
from stub_server import Body, Reply, status

COURSE = ("queued", "running", "succeeded")
"""States after `validating_files`, one for each look."""


@dataclass
class UploadedFile:
    """A file of rows."""

    id: str
    name: str
    content: bytes

    def to_json(self) -> Body:
        return {
            "id": self.id, "object": "file", "bytes": len(self.content), "created_at": 1,
            "filename": self.name, "purpose": "fine-tune", "status": "processed",
        }  # fmt: skip


@dataclass
class FineTuningJob:
    """A job and where it goes."""

    id: str
    body: Body
    course: deque[str]
    status: str = "validating_files"
    model: str | None = None
    error: Body | None = None
    trained_tokens: int | None = None
    looks: int = 0
    events: list[Body] = field(default_factory=list)

    def to_json(self) -> Body:
        method = self.body.get("method", {})
        return {
            "id": self.id, "object": "fine_tuning.job", "created_at": 1, "finished_at": None,
            "model": self.body["model"], "fine_tuned_model": self.model,
            "organization_id": "org-1", "status": self.status, "error": self.error,
            "hyperparameters": method.get("supervised", {}).get("hyperparameters", {}),
            "training_file": self.body["training_file"],
            "validation_file": self.body.get("validation_file"), "result_files": [],
            "trained_tokens": self.trained_tokens, "seed": self.body.get("seed", 1),
            "metadata": self.body.get("metadata"), "method": method,
        }  # fmt: skip

    def add_event(self, message: str, *, level: str = "info", data: Body | None = None) -> None:
        self.events.append(
            {
                "id": f"{self.id}-event-{len(self.events) + 1}", "object": "fine_tuning.job.event",
                "created_at": 1, "level": level, "message": message,
                "type": "metrics" if data else "message", "data": data or {},
            }
        )  # fmt: skip


class JobsServer(LoopbackServer):
    """Serves /v1/files and /v1/fine_tuning/jobs from a thread of its own.

    Attributes:
        course: States of the jobs that are created from now on, `validating_files` left out.
        error: Of a job that fails.
        trained_tokens: Of a job that succeeds.
        model: Of a job that succeeds; None = it never names one.
        page: Entries of one page of a list.
        has_events: Whether events of a job can be had.
        keeps_metadata: Whether a job shows the metadata that it was created with.
        uploaded: Called when a file is there, before the client is told.
        created: Called when a job is there, before the client is told.
        looked: Called with a job that is looked at, after its state has moved on and before the
            client is told; may add events.
        shown: Stands above what a job shows.
        drop: Names of what (`upload`, `create`) is done once more without a reply.
        faults: Taken one per request, in order, before it is served.
        first_fault: Answers the first request to each path, in its place.
        refusals: Taken one per creation of a job, in order, in its place.
        asked: How often each path was asked, as "POST /v1/files"; ids are `ID`.
        keys: The API keys that came.
        files: By id.
        jobs: By id, in order of creation.
    """

    def __init__(self) -> None:
        super().__init__()
        self._numbers = 0
        self.course: tuple[str, ...] = COURSE
        self.error: Body = {"code": "invalid_training_file", "message": "row 3 is bad"}
        self.trained_tokens = 1200
        self.model: str | None = "ft:base:loop::1"
        self.page = 100
        self.has_events = True
        self.keeps_metadata = True
        self.uploaded: Callable[[], None] = lambda: None
        self.created: Callable[[], None] = lambda: None
        self.looked: Callable[[FineTuningJob], None] = lambda _: None
        self.shown: Body = {}
        self.drop: list[str] = []
        self.faults: deque[Reply] = deque()
        self.first_fault: Reply | None = None
        self.refusals: deque[Reply] = deque()
        self.asked: Counter[str] = Counter()
        self.keys: set[str] = set()
        self.files: dict[str, UploadedFile] = {}
        self.jobs: dict[str, FineTuningJob] = {}

    @property
    def job(self) -> FineTuningJob:
        """The only one."""
        (job,) = self.jobs.values()
        return job

    def _app(self) -> web.Application:
        app = web.Application(client_max_size=1 << 28, middlewares=[self._faulty])
        jobs = "/v1/fine_tuning/jobs"
        app.router.add_post("/v1/files", self._upload)
        app.router.add_get("/v1/files", self._list_files)
        app.router.add_get("/v1/files/{id}", self._retrieve_file)
        app.router.add_post(jobs, self._create)
        app.router.add_get(jobs, self._list_jobs)
        app.router.add_get(f"{jobs}/{{id}}", self._retrieve)
        app.router.add_get(f"{jobs}/{{id}}/events", self._list_events)
        app.router.add_get(f"{jobs}/{{id}}/checkpoints", self._list_checkpoints)
        app.router.add_post(f"{jobs}/{{id}}/cancel", self._cancel)
        return app

    @web.middleware
    async def _faulty(self, request: web.Request, handler: Any) -> web.StreamResponse:  # noqa: ANN401
        self.keys.add(sent_key(request))
        path = request.path
        if (id_ := request.match_info.get("id")) is not None:
            path = path.replace(id_, "ID")
        place = f"{request.method} {path}"
        self.asked[place] += 1
        if self.first_fault is not None and self.asked[place] == 1:
            return await self.first_fault({})
        if self.faults:
            return await self.faults.popleft()({})
        served: web.StreamResponse = await handler(request)
        return served

    async def _upload(self, request: web.Request) -> web.StreamResponse:
        form = await request.post()
        part = form["file"]
        if form["purpose"] != "fine-tune" or not isinstance(part, web.FileField):
            return await status(400, message="purpose must be fine-tune")({})
        file = UploadedFile(self._id("file"), part.filename, part.file.read())
        self.files[file.id] = file
        self.uploaded()
        return self._told("upload", request, file.to_json())

    async def _list_files(self, request: web.Request) -> web.Response:
        return self._listed(request, [file.to_json() for file in self.files.values()])

    async def _retrieve_file(self, request: web.Request) -> web.StreamResponse:
        file = self.files.get(request.match_info["id"])
        if file is None:
            return await status(404, message="no such file")({})
        return web.json_response(file.to_json())

    async def _create(self, request: web.Request) -> web.StreamResponse:
        if self.refusals:
            return await self.refusals.popleft()({})
        body = await request.json()
        if not {body["training_file"], body.get("validation_file")} - {None} <= self.files.keys():
            return await status(400, message="no such file")({})
        if not self.keeps_metadata:
            body.pop("metadata")
        job = FineTuningJob(self._id("ftjob"), body, deque(self.course))
        self.jobs[job.id] = job
        job.add_event(f"Created fine-tuning job: {job.id}")
        self.created()
        return self._told("create", request, job.to_json())

    async def _list_jobs(self, request: web.Request) -> web.Response:
        return self._listed(request, [job.to_json() for job in self.jobs.values()])

    async def _retrieve(self, request: web.Request) -> web.StreamResponse:
        job = self.jobs.get(request.match_info["id"])
        if job is None:
            return await status(404, message="no such job")({})
        job.looks += 1
        if job.course:
            job.status = job.course.popleft()
        if job.status == "succeeded":
            job.model, job.trained_tokens = self.model, self.trained_tokens
        elif job.status == "failed":
            job.error = self.error
        self.looked(job)
        return web.json_response({**job.to_json(), **self.shown})

    async def _list_events(self, request: web.Request) -> web.StreamResponse:
        if not self.has_events:
            return await status(404, message="no events")({})
        return self._listed(request, list(self.jobs[request.match_info["id"]].events))

    async def _list_checkpoints(self, request: web.Request) -> web.Response:
        id_ = request.match_info["id"]
        kept = {
            "id": "ftckpt-1", "object": "fine_tuning.job.checkpoint", "created_at": 1,
            "fine_tuned_model_checkpoint": f"{self.model}:ckpt-step-2",
            "fine_tuning_job_id": id_, "metrics": {}, "step_number": 2,
        }  # fmt: skip
        return self._listed(request, [kept])

    async def _cancel(self, request: web.Request) -> web.Response:
        job = self.jobs[request.match_info["id"]]
        job.course, job.status = deque(), "cancelled"
        return web.json_response(job.to_json())

    def _told(self, what: str, request: web.Request, reply: Body) -> web.Response:
        """The reply, or a connection that breaks off in place of one that was ordered."""
        if what in self.drop:
            self.drop.remove(what)
            assert request.transport is not None
            request.transport.abort()
        return web.json_response(reply)

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
