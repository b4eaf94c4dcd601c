"""`--cancel`: it ends the job of this training, and gives up none that may be running."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from clear_pipeline.cli import app
from clear_pipeline.errors import (
    BatchPendingError,
    RunFailedError,
    RunMismatchError,
    UsageError,
)
from clear_pipeline.finetune.openai_jobs.record import Job, Record
from clear_pipeline.own_loop import in_own_loop
from jobs_server import JobsServer
from jobs_training import UPLOAD, Training
from stub_server import status


def test_cancel(training: Training, server: JobsServer) -> None:
    """An open job is cancelled at the platform; one that has ended is left alone."""
    assert in_own_loop(training.trainer.cancel(training.context())) == "no job is open"
    training.stops(BatchPendingError, wait=False)
    told = in_own_loop(training.trainer.cancel(training.context()))
    assert told == f"job {server.job.id}: cancelled"
    assert server.job.status == "cancelled"
    told = in_own_loop(training.trainer.cancel(training.context()))
    assert told == f"job {server.job.id} has ended: cancelled"


def lost_in_creation(training: Training, server: JobsServer) -> None:
    """A job is created, and nobody here knows its id."""
    server.drop = ["create"]
    server.created = lambda: server.faults.extend([status(500)] * 5)
    training.stops()
    server.faults.clear()


def test_cancel_finds_a_job_whose_creation_got_no_reply(
    training: Training, server: JobsServer
) -> None:
    """It may be paid for, so it is looked for."""
    lost_in_creation(training, server)
    told = in_own_loop(training.trainer.cancel(training.context()))
    assert told == f"job {server.job.id}: cancelled"


def test_cancel_with_the_key_of_another_account(training: Training, server: JobsServer) -> None:
    """Its empty list says nothing of a job that may be running: nothing is given up."""
    lost_in_creation(training, server)
    jobs, files = server.jobs, server.files
    server.jobs, server.files = {}, {}
    with pytest.raises(RunFailedError, match="is the key that of the account that began it"):
        in_own_loop(training.trainer.cancel(training.context()))
    server.jobs, server.files = jobs, files
    told = in_own_loop(training.trainer.cancel(training.context()))
    assert told == f"job {server.job.id}: cancelled"


def test_cancel_of_what_was_never_created(training: Training, server: JobsServer) -> None:
    """Where the file is to be seen and no job is, it is given up; the next command begins anew."""
    server.refusals.append(status(400, message="not now"))
    training.stops()
    told = in_own_loop(training.trainer.cancel(training.context()))
    assert told == "the job that was begun here was never created; it is given up"
    assert in_own_loop(training.trainer.cancel(training.context())) == "no job is open"
    training.train()
    assert (server.asked[UPLOAD], len(server.jobs)) == (4, 1)


def test_cancel_beside_a_new_job(training: Training, server: JobsServer) -> None:
    """What a live command has begun in the meantime stays in the record."""
    training.stops(BatchPendingError, wait=False)
    begun = Job(job_id="ftjob-new", state="running")
    server.looked = lambda _: (Record(training.folder).write(begun), None)[1]
    told = in_own_loop(training.trainer.cancel(training.context()))
    assert told == f"job {server.job.id}: cancelled"
    assert Record(training.folder).read() == begun


def test_cancel_with_other_settings(training: Training, server: JobsServer) -> None:
    """They may be of another platform, which knows nothing of the job: it is not asked."""
    training.stops(BatchPendingError, wait=False)
    asked = server.asked.copy()
    refused = training.command("--set", "suffix=other", "--cancel")
    assert isinstance(refused.exception, RunMismatchError)
    assert "holds a training with other settings.suffix; give those" in str(refused.exception)
    assert server.asked == asked


def test_cancel_of_what_runs_here(training: Training) -> None:
    """A training on this machine has no job to cancel, and how it is stopped is told."""
    words = ["finetune", str(training.data.train), "--out", str(training.folder), "--cancel"]
    refused = CliRunner().invoke(app, words)
    assert isinstance(refused.exception, UsageError)
    assert str(refused.exception) == "trainer lora has nothing to cancel: Ctrl-C stops it"
