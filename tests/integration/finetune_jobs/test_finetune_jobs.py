"""The trainer `openai-jobs` against a platform on loopback: its states and failures."""

from __future__ import annotations

import pytest

from clear_pipeline.errors import BatchPendingError, UsageError
from clear_pipeline.finetune import Point
from jobs_server import FineTuningJob, JobsServer
from jobs_training import CREATE, KEY, LOOK, UPLOAD, Training
from stub_server import Reply, dropped, page, status, written


def test_a_job_to_its_end(training: Training, server: JobsServer) -> None:
    """The files arrive byte for byte, the job is asked for as set, and its model is handed on."""
    trained = training.train()
    train, valid = server.files.values()
    assert train.content == training.data.train.read_bytes()
    assert training.data.valid is not None
    assert valid.content == training.data.valid.read_bytes()
    given = {"n_epochs": 2, "batch_size": "auto", "learning_rate_multiplier": "auto"}
    tag = server.job.body.pop("metadata")["clear_pipeline_tag"]
    assert server.job.body == {
        "model": "base", "training_file": train.id, "validation_file": valid.id,
        "method": {"type": "supervised", "supervised": {"hyperparameters": given}},
        "suffix": "loop", "seed": 7,
    }  # fmt: skip
    assert (train.name, valid.name) == (
        f"clear-pipeline-{tag}-train.jsonl",
        f"clear-pipeline-{tag}-valid.jsonl",
    )
    assert trained.model == training.model.model_copy(update={"model": "ft:base:loop::1"})
    assert trained.summary == {
        "job": server.job.id, "trained_tokens": 1200, "epochs": 2, "usd": 0.0,
        "checkpoints": "ft:base:loop::1:ckpt-step-2",
    }  # fmt: skip
    assert training.notes == [
        f"job {server.job.id} at {server.url}",
        f"job {server.job.id}: queued",
        f"  Created fine-tuning job: {server.job.id}",
        f"job {server.job.id}: running",
        f"job {server.job.id}: succeeded",
    ]


def test_a_job_that_is_over_is_read_back(training: Training, server: JobsServer) -> None:
    """The same command asks nobody again."""
    first = training.train()
    asked = server.asked.copy()
    assert training.train() == first
    assert server.asked == asked


def test_the_key_is_sent_and_written_nowhere(training: Training, server: JobsServer) -> None:
    """It goes to the platform alone, also where that repeats it."""

    def repeat(job: FineTuningJob) -> None:
        job.add_event(f"your key {KEY}", data={"key": KEY})

    server.looked = repeat
    training.train()
    assert server.keys == {KEY}
    assert "  your key [key]" in training.notes
    written = b"".join(path.read_bytes() for path in training.folder.iterdir())
    assert KEY.encode() not in written


def test_words_that_are_no_end(training: Training, server: JobsServer) -> None:
    """Paused, or a word that nobody knows, is neither success nor failure: it is waited on."""
    server.course = ("paused", "waiting_for_moon", "running", "succeeded")
    training.train()
    told = [note.partition(": ")[2] for note in training.notes if note.startswith("job")]
    assert told == ["", "paused", "waiting_for_moon", "running", "succeeded"]
    assert server.asked[LOOK] == 4


def test_failed(training: Training, server: JobsServer) -> None:
    """The server's reason is shown; the same command then begins a job anew."""
    server.course = ("running", "failed")
    told = training.stops()
    assert "has failed: invalid_training_file: row 3 is bad" in told
    assert "begins a new one, which is paid anew" in told
    server.course = ("succeeded",)
    assert training.train().model.model == "ft:base:loop::1"
    first, second = server.jobs.values()
    assert first.body["metadata"] != second.body["metadata"]
    assert first.body["training_file"] != second.body["training_file"]


@pytest.mark.parametrize("word", ["cancelled", "canceled"])
def test_cancelled_by_others(training: Training, server: JobsServer, word: str) -> None:
    """A job that somebody cancelled is no success, however that is spelt."""
    server.course = ("running", word)
    assert "was cancelled; the same command begins a new one" in training.stops()


def test_success_without_a_model(training: Training, server: JobsServer) -> None:
    """A job that has succeeded and names no model is looked at again, and not begun again."""
    server.model = None
    assert "names no model yet; the same command looks again" in training.stops()
    server.model = "ft:late"
    assert training.train().model.model == "ft:late"
    assert len(server.jobs) == 1


def test_nobody_waits(training: Training, server: JobsServer) -> None:
    """Without waiting each command looks once and says that the job goes on."""
    server.course = ("queued", "running", "succeeded")
    assert "queued; the same command looks again" in training.stops(BatchPendingError, wait=False)
    assert "running; the same command" in training.stops(BatchPendingError, wait=False)
    assert training.train(wait=False).model.model == "ft:base:loop::1"
    assert (server.asked[CREATE], server.asked[LOOK]) == (1, 3)


def test_events_are_told_once(training: Training, server: JobsServer) -> None:
    """Over pages and over several commands, in order; the losses in them make the curve."""
    server.page = 2
    server.course = ("running", "running", "succeeded")

    def learn(job: FineTuningJob) -> None:
        for _ in range(3):
            step = len(job.events)
            job.add_event(f"Step {step}", data={"step": step, "train_loss": 1 / step})

    server.looked = learn
    told: list[str] = []
    for _ in range(2):
        training.stops(BatchPendingError, wait=False)
        told += training.notes
    trained = training.train()
    told += training.notes
    steps = [note for note in told if note.startswith("  ")]
    created = f"  Created fine-tuning job: {server.job.id}"
    assert steps == [created, *(f"  Step {step}" for step in range(1, 10))]
    assert trained.curve == tuple(Point(step=n, train_loss=1 / n) for n in range(1, 10))


def test_warnings_among_events_are_told_as_such(training: Training, server: JobsServer) -> None:
    """An event's level stands before it, unless it is mere information."""
    server.looked = lambda job: job.add_event("slow\x1b[2J", level="warn")
    training.train()
    assert "  warn: slow?[2J" in training.notes


def test_a_platform_without_events(training: Training, server: JobsServer) -> None:
    """Events are extras: where they are refused, the job is followed all the same."""
    server.has_events = False
    training.train()
    assert server.asked["GET /v1/fine_tuning/jobs/ID/events"] == 1


@pytest.mark.parametrize(
    "fault",
    [status(503), status(429), dropped, page],
    ids=["unavailable", "too many requests", "dropped", "a page"],
)
def test_faults_on_every_path(training: Training, server: JobsServer, fault: Reply) -> None:
    """Each call may fail once: it is made again, and nothing is done twice."""
    server.first_fault = fault
    training.train()
    assert len(server.jobs) == 1
    assert len(server.files) == 2
    assert server.asked.keys() == {
        "GET /v1/files", UPLOAD, "GET /v1/fine_tuning/jobs", CREATE, LOOK, f"{LOOK}/events",
        f"{LOOK}/checkpoints",
    }  # fmt: skip
    assert min(server.asked.values()) >= 2


def test_a_lost_reply_to_creation(training: Training, server: JobsServer) -> None:
    """A job that was created without a reply is found by its tag, and not created again."""
    server.drop = ["create"]
    training.train()
    assert server.asked[CREATE] == 1
    assert len(server.jobs) == 1


def test_a_lost_reply_where_metadata_is_lost(training: Training, server: JobsServer) -> None:
    """A platform that keeps no metadata still shows the file that the job is trained on."""
    server.drop = ["create"]
    server.keeps_metadata = False
    training.train()
    assert server.asked[CREATE] == 1


def test_a_lost_reply_to_an_upload(training: Training, server: JobsServer) -> None:
    """A file that arrived without a reply is found by its name."""
    server.drop = ["upload"]
    training.train()
    assert (server.asked[UPLOAD], len(server.files)) == (2, 2)


def test_nothing_is_listed_after_a_lost_reply(training: Training, server: JobsServer) -> None:
    """As long as nobody knows whether the job was created, no second one is."""
    server.drop = ["create"]
    server.created = lambda: server.faults.extend([status(500)] * 5)
    assert "nothing is lost or paid twice" in training.stops()
    assert len(server.jobs) == 1
    server.faults.clear()
    training.train()
    assert len(server.jobs) == 1
    assert training.notes[0].startswith("the job that was begun when the training stopped is")


def test_a_refused_job(training: Training, server: JobsServer) -> None:
    """A platform that will not create the job says why; the same files are asked with again."""
    server.refusals.append(status(400, message="base cannot be tuned"))
    told = training.stops()
    assert "refuses the fine-tuning job: base cannot be tuned" in told
    assert f"To upload them anew: delete {training.folder / 'job.json'}" in told
    training.train()
    assert (server.asked[UPLOAD], len(server.jobs)) == (2, 1)


def test_a_platform_that_takes_no_metadata(training: Training, server: JobsServer) -> None:
    """Nothing is sent that it refuses, and a lost reply is still found, by the training file."""
    server.drop = ["create"]
    training.train(metadata=False)
    assert "metadata" not in server.job.body
    assert server.asked[CREATE] == 1


def test_no_such_api(training: Training, server: JobsServer) -> None:
    """An endpoint without jobs is told before anything is uploaded to it."""
    server.faults.append(status(404, message="no such path"))
    assert "has no fine-tuning jobs (no such path)" in training.stops(UsageError)
    assert not server.files


def test_no_quota(training: Training, server: JobsServer) -> None:
    """What the account cannot pay stops at once, and goes on with the same files."""
    server.refusals.append(status(429, code="insufficient_quota", message="pay first"))
    assert "the account has no quota or credit left (pay first)" in training.stops()
    training.train()
    assert (server.asked[UPLOAD], len(server.jobs)) == (2, 1)


def test_a_job_that_the_platform_does_not_know(training: Training, server: JobsServer) -> None:
    """Another account's key does not begin a second job; what to do is told."""
    training.stops(BatchPendingError, wait=False)
    hidden = server.jobs.copy()
    server.jobs.clear()
    told = training.stops()
    assert "does not show job" in told
    assert f"To begin anew: delete {training.folder / 'job.json'}" in told
    server.jobs = hidden
    training.train()
    assert server.asked[CREATE] == 1


def test_a_reply_that_is_no_job(training: Training, server: JobsServer) -> None:
    """JSON of something else is no state of a job."""
    training.stops(BatchPendingError, wait=False)
    server.faults.extend([written('{"hello": 1}')] * 5)
    assert "shows no job" in training.stops()
    training.train()


def test_errors_are_found_before_an_upload(training: Training, server: JobsServer) -> None:
    """A file with an error sends nothing at all."""
    with training.data.train.open("a") as file:
        file.write('{"messages": []}\n')
    assert "train.jsonl:11: messages is a list" in training.stops(UsageError)
    assert not server.asked


@pytest.mark.parametrize(
    ("error", "said"), [("no memory", "has failed: no memory"), ([1], "has failed;")]
)
def test_replies_of_unexpected_types(
    training: Training, server: JobsServer, error: object, said: str
) -> None:
    """A platform whose job shows texts for objects, or lists, is followed to the end."""
    server.course = ("failed",)
    server.shown = {"error": error, "hyperparameters": "auto", "trained_tokens": "many"}
    assert said in training.stops()
