"""The fine-tuning jobs of an endpoint: /v1/files and /v1/fine_tuning/jobs, through its SDK."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from clear_pipeline.errors import CallError, UsageError
from clear_pipeline.finetune.openai_jobs.record import Job
from clear_pipeline.llm.endpoint import PAGE, Endpoint, Purpose
from clear_pipeline.schema import JSON

TAG: Final = "clear_pipeline_tag"
"""Key of a job's tag in its metadata."""

_FILES: Final[Purpose] = "fine-tune"
_SPELLINGS: Final[Mapping[str, str]] = {"canceled": "cancelled"}
"""Words for a state that some platforms spell in their own way."""
_LENGTH: Final = 500
"""Characters of a message that are shown."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A job as the platform sees it now.

    Attributes:
        state: Its word for it.
        model: The model that came out, once there is one.
        reason: Why it has failed, or "".
        trained_tokens: What was trained, once it is counted.
        epochs: How often all rows are learnt, once that is decided.
    """

    state: str
    model: str | None = None
    reason: str = ""
    trained_tokens: int | None = None
    epochs: int | None = None


class Platform:
    """The calls of one endpoint, each made once: a `CallError` says whether to try again.

    Args:
        endpoint: Where.
        url: Its root, for messages.
        tags: Whether it takes metadata of a job.

    Attributes:
        url: As given.
    """

    def __init__(self, endpoint: Endpoint, url: str, *, tags: bool) -> None:
        self._endpoint = endpoint
        self.url = url
        self._tags = tags
        self._jobs = endpoint.sdk.fine_tuning.jobs

    async def check(self) -> None:
        """Make sure that the endpoint has fine-tuning jobs, and lists them.

        Raises:
            UsageError: It has not.
            CallError: It did not say.
        """

        async def newest() -> None:
            await self._jobs.list(limit=1)

        try:
            await self._endpoint.once(newest())
        except CallError as error:
            if error.transient:
                raise
            raise UsageError(
                f"{self.url} has no fine-tuning jobs ({error.message}); give the model's base_url "
                "of a platform that serves /v1/fine_tuning/jobs"
            ) from None

    async def found(self, job: Job) -> str | None:
        """The id of a job that an earlier try may have created.

        By its tag, or by its training file, which was uploaded for it alone.
        """

        async def look() -> str | None:
            async for listed in self._jobs.list(limit=PAGE):
                metadata = listed.metadata if isinstance(listed.metadata, Mapping) else {}
                ours = job.train_file is not None and listed.training_file == job.train_file
                if ours or metadata.get(TAG) == job.tag:
                    return listed.id
            return None

        return await self._endpoint.once(look())

    async def upload(self, path: Path, name: str, *, again: bool) -> str:
        """The id of a file, uploaded unless an earlier try may have done that and has."""
        found = await self._endpoint.uploaded(path, name, _FILES) if again else None
        return found or await self._endpoint.upload(path, name, _FILES)

    async def has_file(self, file_id: str) -> bool:
        """Whether an uploaded file is to be seen with this key."""
        try:
            return (
                await self._endpoint.id_from(self._endpoint.sdk.files.retrieve(file_id)) == file_id
            )
        except CallError as error:
            if error.transient:
                raise
            return False

    async def create(self, job: Job, body: Mapping[str, Any]) -> str:
        """Create a job of uploaded files; returns its id.

        Args:
            job: With the ids of its files.
            body: The model, the method, and what else the platform takes.
        """
        given = dict(body)
        if job.valid_file is not None:
            given["validation_file"] = job.valid_file
        if self._tags:
            given["metadata"] = {TAG: job.tag}
        return await self._endpoint.id_from(
            self._jobs.create(training_file=str(job.train_file), **given)
        )

    async def look(self, job_id: str) -> Seen:
        """How far a job is."""
        found = await self._endpoint.once(self._jobs.retrieve(job_id))
        if getattr(found, "id", None) != job_id:
            raise CallError("garbled", f"{self.url} shows no job {job_id}", transient=True)
        state = _text(found, "status") or "unknown"
        error, given = (getattr(found, name, None) for name in ("error", "hyperparameters"))
        said = (
            error if isinstance(error, str) else None,
            _text(error, "code"),
            _text(error, "message"),
        )
        return Seen(
            state=_SPELLINGS.get(state, state),
            model=_text(found, "fine_tuned_model"),
            reason=self._shown(": ".join(filter(None, said))),
            trained_tokens=_count(found, "trained_tokens"),
            epochs=_count(given, "n_epochs"),
        )

    async def events(self, job_id: str, known: set[str]) -> list[dict[str, JSON]]:
        """The events of a job that are not known yet, the oldest first.

        Pages are asked for, the newest first, until one has an event that is known.
        """

        async def look() -> list[dict[str, JSON]]:
            new: dict[str, dict[str, JSON]] = {}
            page = await self._jobs.list_events(job_id, limit=PAGE)
            while True:
                listed = page.data or []
                news = [e for e in listed if e.id not in known and e.id not in new]
                new |= {event.id: self._event(event) for event in news}
                if len(news) < len(listed) or not page.has_next_page():
                    return [*new.values()][::-1]
                page = await page.get_next_page()

        return await self._endpoint.once(look())

    async def checkpoints(self, job_id: str) -> list[str]:
        """The names of the models that a job kept on its way."""

        async def look() -> list[str]:
            return [
                str(kept.fine_tuned_model_checkpoint)
                async for kept in self._jobs.checkpoints.list(job_id, limit=PAGE)
            ]

        return await self._endpoint.once(look())

    async def cancel(self, job_id: str) -> None:
        """Ask the platform to cancel a job."""
        await self._endpoint.once(self._jobs.cancel(job_id))

    def _event(self, event: Any) -> dict[str, JSON]:  # noqa: ANN401 -- as a server sent it
        data = event.data if isinstance(event.data, dict) else {}
        return {
            "id": str(event.id),
            "at": event.created_at,
            "level": str(event.level or "info"),
            "message": self._shown(str(event.message or "")),
            "data": self._endpoint.without_key(data),
        }

    def _shown(self, text: str) -> str:
        """What the server says, in one line, without the key, harmless to a terminal."""
        said = str(self._endpoint.without_key(" ".join(text.split())))
        return "".join(c if c.isprintable() else "?" for c in said[:_LENGTH])


def _text(shown: object, name: str) -> str | None:
    """An attribute, if it is a text: the SDK hands on whatever a server sent."""
    value = getattr(shown, name, None)
    return value if isinstance(value, str) and value else None


def _count(shown: object, name: str) -> int | None:
    value = getattr(shown, name, None)
    return value if isinstance(value, int) and not isinstance(value, bool) else None
