"""From the intent of a job to its end: each step is in the record before the next one is taken."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from tenacity import AsyncRetrying, retry_if_result, stop_never
from tenacity.wait import wait_base

from clear_pipeline.errors import CallError, RunFailedError
from clear_pipeline.finetune.base import TrainingData
from clear_pipeline.finetune.openai_jobs.platform import Platform, Seen
from clear_pipeline.finetune.openai_jobs.record import ENDED, NEVER_CREATED, Job, Record
from clear_pipeline.llm.endpoint import Endpoint

Note: TypeAlias = Callable[[str], None]


class Follower:
    """One job at one platform, for one folder.

    Args:
        endpoint: Tries calls again.
        platform: Makes them.
        record: Of the job.
        note: Told, a line each, what becomes of it.
    """

    def __init__(self, endpoint: Endpoint, platform: Platform, record: Record, note: Note) -> None:
        self._endpoint = endpoint
        self._platform = platform
        self._record = record
        self._note = note
        self._has_events = True

    async def submit(
        self, job: Job, data: TrainingData, body: Mapping[str, Any], *, again: bool
    ) -> Job:
        """Upload the files and create the job, unless that is done already.

        Args:
            job: Without an id, and in the record.
            data: The files.
            body: What else the job is made of.
            again: Somebody may have done it before: what came of that is looked for first. So it
                is after a failure on the way, since what failed may have been done all the same.

        Raises:
            UsageError: The endpoint has no fine-tuning jobs.
            RunFailedError: It cannot be created now, or is refused.
        """
        paths = {"train": data.train} | ({} if data.valid is None else {"valid": data.valid})

        async def attempt() -> Job:
            nonlocal job, again
            look, again = again, True
            job_id = await self._platform.found(job) if look and job.train_file else None
            if job_id is None:
                for split, path in paths.items():
                    job = await self._uploaded(job, split, path, again=look)
                job_id = await self._created(job, body)
            job = self._record.write(job.with_(job_id=job_id, state="created"))
            return job

        await self._endpoint.patiently(self._platform.check)
        begun = again and job.train_file is not None
        job = await self._endpoint.patiently(attempt)
        if begun:
            self._note(f"the job that was begun when the training stopped is {job.job_id}")
        return job

    async def follow(self, job: Job, poll: wait_base, *, wait: bool) -> tuple[Job, Seen]:
        """Tell what becomes of a job, until it has ended.

        Args:
            job: With its id.
            poll: How long to wait between two looks.
            wait: Whether to; else one look is taken.

        Raises:
            RunFailedError: The platform does not answer now, or does not know the job.
        """
        looking = AsyncRetrying(
            retry=retry_if_result(lambda seen: wait and seen.state not in ENDED),
            stop=stop_never,
            wait=poll,
        )

        async def look() -> Seen:
            nonlocal job
            seen = await self._seen(job)
            if seen.state != job.state:
                job = self._record.write(job.with_(state=seen.state))
                self._note(f"job {job.job_id}: {seen.state}")
            await self._tell_events(str(job.job_id))
            return seen

        seen: Seen = await looking(look)
        return job, seen

    async def cancel(self, job: Job) -> Job | None:
        """Have a job cancelled; None if it was never created. One that has ended stays so.

        Raises:
            RunFailedError: The platform cannot be asked now, or does not know the job, or may know
                it under another key.
        """
        job_id = job.job_id or await self._endpoint.patiently(lambda: self._platform.found(job))
        if job_id is None:
            await self._require_own_account(job)
            self._record.update(job.with_(state=NEVER_CREATED))
            return None
        job = job.with_(job_id=job_id)
        seen = await self._seen(job)
        if seen.state not in ENDED:
            await self._endpoint.patiently(lambda: self._platform.cancel(job_id))
            seen = await self._seen(job)
        return self._record.update(job.with_(state=seen.state))

    async def checkpoints(self, job: Job) -> list[str]:
        """The models that a job kept on its way, by name; none if the platform does not say."""
        try:
            return await self._endpoint.tried(lambda: self._platform.checkpoints(str(job.job_id)))
        except CallError:
            return []

    async def _require_own_account(self, job: Job) -> None:
        """Make sure that an empty list means something: that it is of those who began the job.

        Raises:
            RunFailedError: They do not see the file that was uploaded for it.
        """
        file_id = job.train_file
        if file_id is None:  # no job is created without one
            return
        if not await self._endpoint.patiently(lambda: self._platform.has_file(file_id)):
            raise RunFailedError(
                f"{self._platform.url} shows no job of this training, and not its file {file_id}: "
                "is the key that of the account that began it? A job may be running there; if none "
                f"is: delete {self._record.path}"
            )

    async def _uploaded(self, job: Job, split: str, path: Path, *, again: bool) -> Job:
        """The job with the id of this file."""
        if getattr(job, f"{split}_file") is not None:
            return job
        name = f"clear-pipeline-{job.tag}-{split}.jsonl"
        file_id = await self._platform.upload(path, name, again=again)
        return self._record.write(job.with_(**{f"{split}_file": file_id}))

    async def _created(self, job: Job, body: Mapping[str, Any]) -> str:
        try:
            return await self._platform.create(job, body)
        except CallError as error:
            if error.transient:
                raise
            raise RunFailedError(
                f"{self._platform.url} refuses the fine-tuning job: {error.message}; nothing was "
                "started: the same command asks again with the files that are uploaded. To upload "
                f"them anew: delete {self._record.path}"
            ) from None

    async def _seen(self, job: Job) -> Seen:
        try:
            return await self._endpoint.tried(lambda: self._platform.look(str(job.job_id)))
        except CallError as error:
            if error.transient:
                raise self._endpoint.stopped(error) from error
            raise RunFailedError(
                f"{self._platform.url} does not show job {job.job_id}: {error.message}. Is the key "
                f"that of the account that created it? To begin anew: delete {self._record.path}"
            ) from None

    async def _tell_events(self, job_id: str) -> None:
        """Tell each event once, also over several processes. They are extras: none stops a job."""
        if not self._has_events:
            return
        known = {str(event["id"]) for event in self._record.events(job_id)}
        try:
            new = await self._endpoint.tried(lambda: self._platform.events(job_id, known))
        except CallError as error:
            self._has_events = error.transient
            return
        for event in new:
            self._record.add_event(job_id, event)
            level = "" if event["level"] == "info" else f"{event['level']}: "
            self._note(f"  {level}{event['message']}")
