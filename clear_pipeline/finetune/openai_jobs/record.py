"""What is known of a job, on the disk before and after each step that the platform takes.

A killed process is taken up where it was: the intent stands there before anything is sent, each id
as soon as the platform has given it, and each event before it is told.
"""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any, Final

from pydantic import Field, ValidationError

from clear_pipeline import journal
from clear_pipeline.durable import write_text_atomically
from clear_pipeline.errors import DamagedRunError
from clear_pipeline.schema import JSON
from clear_pipeline.settings import Settings

JOB: Final = "job.json"
EVENTS: Final = "events.jsonl"

SUCCEEDED: Final = "succeeded"
NEVER_CREATED: Final = "never created"
"""State of a job that was given up before the platform had it."""
GIVEN_UP: Final = ("failed", "cancelled", NEVER_CREATED)
"""States after which the same command begins anew."""
ENDED: Final = (SUCCEEDED, *GIVEN_UP)
"""States after which nothing more comes. Any other word, known or not, is of an open job."""


class Job(Settings):
    """One fine-tuning job, which the platform may not know yet."""

    tag: str = Field(default_factory=lambda: uuid.uuid4().hex)
    """Marks it there: `clear_pipeline_tag` in its metadata, and in the names of its files."""
    train_file: str | None = None
    """Id of the uploaded training file, once it is known."""
    valid_file: str | None = None
    """Id of the uploaded validation file, once it is known."""
    job_id: str | None = None
    """Id of the job, once it is known."""
    state: str = "intended"
    """`intended`, then the platform's word for it."""

    def with_(self, **known: str | None) -> Job:
        """The same with what is newly known."""
        return self.model_copy(update=known)


class Record:
    """The files of one job in the folder of a training.

    Args:
        folder: Exists.

    Attributes:
        path: The file of the job.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / JOB
        self._events = folder / EVENTS

    def read(self) -> Job | None:
        """The job that was begun here last; None if there is none.

        Raises:
            DamagedRunError: The file is not as it was written.
        """
        try:
            return Job.model_validate(journal.opened(self.path.read_bytes()))
        except FileNotFoundError:
            return None
        except (DamagedRunError, ValidationError) as error:
            raise DamagedRunError(
                f"{self.path}: cannot be used ({error}); restore it, or delete it, and with it "
                "what is known of the job: cancel that at the platform, or a second one is paid"
            ) from error

    def write(self, job: Job) -> Job:
        """Enter a job, or what is newly known of it; on return it survives a power cut."""
        body = journal.sealed(job.model_dump(mode="json"))
        write_text_atomically(self.path, json.dumps(body, indent=1))
        return job

    def update(self, job: Job) -> Job:
        """`write`, unless another job has been begun here since."""
        there = self.read()
        return self.write(job) if there is not None and there.tag == job.tag else job

    def events(self, job_id: str) -> list[dict[str, Any]]:
        """The events of a job that have come so far, in order."""
        return [entry for entry in journal.entries(self._events) if entry.get("job") == job_id]

    def add_event(self, job_id: str, event: dict[str, JSON]) -> None:
        """Enter an event that is about to be told."""
        journal.append(self._events, {"job": job_id, **event})
