"""The trainer `openai-jobs` against a platform on loopback: its states, failures and kills."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from clear_pipeline.cli import app
from clear_pipeline.errors import (
    BatchPendingError,
    RunFailedError,
    RunLockedError,
    UsageError,
)
from clear_pipeline.finetune import Point, Trained, TrainingContext, TrainingData, fine_tune
from clear_pipeline.finetune.openai_jobs import OpenAIJobs
from clear_pipeline.llm.settings import ModelSettings
from clear_pipeline.own_loop import in_own_loop
from clear_pipeline.stages.base import SilentProgress
from jobs_server import FineTuningJob, JobsServer
from stub_server import Reply, dropped, page, status, written

KEY = "sk-secret-0123456789"
CREATE = "POST /v1/fine_tuning/jobs"
UPLOAD = "POST /v1/files"
LOOK = "GET /v1/fine_tuning/jobs/ID"


@pytest.fixture
def server() -> Iterator[JobsServer]:
    with JobsServer() as running:
        yield running


class Training:
    """The same training, again and again."""

    def __init__(self, folder: Path, url: str) -> None:
        self.data = TrainingData(folder / "train.jsonl", folder / "valid.jsonl")
        for path, count in ((self.data.train, 10), (folder / "valid.jsonl", 2)):
            path.write_text("".join(_line(f"{path.stem} {n}") for n in range(count)))
        self.folder = folder / "out"
        self.folder.mkdir()
        self.model = ModelSettings(
            model="base", base_url=url, api_key_env="TUNING_KEY", backoff_s=0.001, max_attempts=5
        )
        self.trainer = OpenAIJobs(
            base=self.model, suffix="loop", seed=7, n_epochs=2, poll_s=0.001, max_poll_s=0.002
        )
        self.notes: list[str] = []

    def context(self) -> TrainingContext:
        progress = SilentProgress()
        self.notes = progress.notes
        return TrainingContext(self.folder, progress)

    def train(self, **changed: object) -> Trained:
        trainer = self.trainer.model_copy(update=changed)
        return in_own_loop(fine_tune(trainer, self.data, self.context()))

    def stops(self, kind: type[Exception] = RunFailedError, **changed: object) -> str:
        """A call that does not come to its end; what it says."""
        with pytest.raises(kind) as stop:
            self.train(**changed)
        return str(stop.value)

    def words(self, *more: str) -> list[str]:
        """The same as it is typed."""
        base = {"base": "{model: base, base_url: '%s', api_key_env: TUNING_KEY, backoff_s: 0.001}"}
        settings = {
            **{name: value % self.model.base_url for name, value in base.items()},
            "suffix": "loop", "seed": "7", "n_epochs": "2", "poll_s": "0.001",
            "max_poll_s": "0.002",
        }  # fmt: skip
        assignments = [f"{name}={value}" for name, value in settings.items()]
        return [
            "finetune", str(self.data.train), "--valid", str(self.data.valid),
            "--out", str(self.folder), "--trainer", "openai-jobs",
            *(word for each in assignments for word in ("--set", each)), *more,
        ]  # fmt: skip

    def process(self) -> subprocess.Popen[str]:
        """The command in a process of its own."""
        command = [sys.executable, "-m", "clear_pipeline", *self.words()]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def command(self, *more: str) -> Result:
        """The command in this process, without a terminal."""
        return CliRunner().invoke(app, self.words(*more))


def _line(question: str) -> str:
    turns = [{"role": "user", "content": question}, {"role": "assistant", "content": "yes"}]
    return json.dumps({"messages": turns}) + "\n"


@pytest.fixture
def training(tmp_path: Path, server: JobsServer, monkeypatch: pytest.MonkeyPatch) -> Training:
    monkeypatch.setenv("TUNING_KEY", KEY)
    return Training(tmp_path, server.url)


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


@pytest.mark.parametrize("fault", [status(503), status(429), dropped, page], ids=str)
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
    """A platform that will not create the job says why; the same command begins anew."""
    server.refusals.append(status(400, message="base cannot be tuned"))
    assert "refuses the fine-tuning job: base cannot be tuned" in training.stops()
    training.train()
    assert len(server.jobs) == 1


def test_no_such_api(training: Training, server: JobsServer) -> None:
    """An endpoint without jobs is told before anything is uploaded to it."""
    server.faults.append(status(404, message="no such path"))
    assert "has no fine-tuning jobs (no such path)" in training.stops(UsageError)
    assert not server.files


def test_no_quota(training: Training, server: JobsServer) -> None:
    """What the account cannot pay stops at once, and goes on with the same files."""
    server.refusals.append(status(429, code="insufficient_quota", message="pay first"))
    assert "the account has no quota: pay first" in training.stops()
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


def test_cancel(training: Training, server: JobsServer) -> None:
    """An open job is cancelled at the platform; one that has ended is left alone."""
    assert in_own_loop(training.trainer.cancel(training.context())) == "no job is open"
    training.stops(BatchPendingError, wait=False)
    told = in_own_loop(training.trainer.cancel(training.context()))
    assert told == f"job {server.job.id}: cancelled"
    assert server.job.status == "cancelled"
    told = in_own_loop(training.trainer.cancel(training.context()))
    assert told == f"job {server.job.id} has ended: cancelled"


def test_cancel_finds_a_job_whose_creation_got_no_reply(
    training: Training, server: JobsServer
) -> None:
    """It may be paid for, so it is looked for; one that was never created is given up."""
    server.drop = ["create"]
    server.created = lambda: server.faults.extend([status(500)] * 5)
    training.stops()
    server.faults.clear()
    told = in_own_loop(training.trainer.cancel(training.context()))
    assert told == f"job {server.job.id}: cancelled"


def test_ctrl_c_leaves_the_job_running(training: Training, server: JobsServer) -> None:
    """The job goes on, how to end it is told, and the same command follows it."""
    server.course = ("running",) * 3 + ("succeeded",)

    async def interrupted() -> None:
        task = asyncio.ensure_future(fine_tune(training.trainer, training.data, training.context()))
        loop = asyncio.get_running_loop()
        server.looked = lambda _: (loop.call_soon_threadsafe(task.cancel), None)[1]
        await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(interrupted())
    assert "goes on at the platform; --cancel ends it" in training.notes[-1]
    server.looked = lambda _: None
    training.train()
    assert (len(server.jobs), server.asked[UPLOAD]) == (1, 2)


def signalled(
    training: Training, server: JobsServer, hook: str, number: signal.Signals
) -> tuple[int, str, str]:
    """The command, sent a signal when the server comes to that point; its end and what it says."""
    process = training.process()

    def send(*_: object) -> None:
        setattr(server, hook, lambda *_: None)
        os.kill(process.pid, number)

    setattr(server, hook, send)
    said = process.communicate(timeout=300)
    return process.returncode, *said


@pytest.mark.parametrize("hook", ["uploaded", "created", "looked"])
def test_killed(training: Training, server: JobsServer, hook: str) -> None:
    """Killed between any two steps: nothing is uploaded or created twice by the next command."""
    server.course = ("running",) * 3 + ("succeeded",)
    signalled(training, server, hook, signal.SIGKILL)
    trained = training.train()
    assert trained.model.model == "ft:base:loop::1"
    assert len(server.jobs) == 1
    assert (server.asked[UPLOAD], server.asked[CREATE]) == (2, 1)


def test_the_command(training: Training, server: JobsServer) -> None:
    """A table, and how the model is asked next, with the variable of its key."""
    done = training.command()
    assert done.exit_code == 0, done.output
    assert "ft:base:loop::1" in done.stdout
    wanted = f"--base-url {server.url} --set models.scorer.api_key_env=TUNING_KEY"
    assert wanted in done.stdout


def test_the_command_asks_before_it_pays(training: Training, server: JobsServer) -> None:
    """Without a terminal and --yes a priced training is refused, and nothing is uploaded."""
    # train 0, yes, user, assistant and three line feeds: 7 + 3 + 4 + 9 + 3 = 26 bytes, 6 tokens,
    # and 11 around them; 10 rows, 2 epochs: 340 tokens; at $5,000 a million: $1.70
    refused = training.command("--set", "price_per_mtok=5000")
    assert isinstance(refused.exception, UsageError)
    told = str(refused.exception)
    assert "costs about $1.70 for 340 tokens, by counting 170 tokens" in told
    assert "Add --yes" in told
    assert not server.asked
    assert training.command("--set", "price_per_mtok=5000", "--yes").exit_code == 0


def test_the_command_holds_a_cap(training: Training, server: JobsServer) -> None:
    """Above --max-usd it ends with 3 and the command that would do; at the cap it trains."""
    price = ("--set", "price_per_mtok=5000", "--yes")
    over = training.command(*price, "--max-usd", "1.69")
    assert over.exit_code == 3
    assert "more than $1.69, the cap" in over.stderr
    assert not server.asked
    assert training.command(*price, "--max-usd", "1.70").exit_code == 0


def test_a_cap_needs_a_price(training: Training, server: JobsServer) -> None:
    """Where the platform chooses the epochs no cap can be held, whatever is agreed to."""
    open_ = ("--set", "price_per_mtok=5000", "--set", "n_epochs=auto", "--yes")
    refused = training.command(*open_, "--max-usd", "100")
    assert isinstance(refused.exception, UsageError)
    assert "--max-usd needs a price that is known" in str(refused.exception)
    assert not server.asked


def test_ctrl_c_and_cancel_at_the_command(training: Training, server: JobsServer) -> None:
    """130, with the job going on at the platform; --cancel ends it."""
    server.course = ("running",) * 1000
    code, _, said = signalled(training, server, "looked", signal.SIGINT)
    assert code == 130, said
    assert "goes on at the platform; --cancel ends it" in said
    assert server.job.status == "running"
    cancelled = training.command("--cancel")
    assert (cancelled.exit_code, cancelled.stdout) == (0, f"job {server.job.id}: cancelled\n")


def test_cancel_of_what_runs_here(training: Training) -> None:
    """A training on this machine has no job to cancel, and how it is stopped is told."""
    words = ["finetune", str(training.data.train), "--out", str(training.folder), "--cancel"]
    refused = CliRunner().invoke(app, words)
    assert isinstance(refused.exception, UsageError)
    assert str(refused.exception) == "trainer lora has nothing to cancel: Ctrl-C stops it"


def test_two_commands_at_once(training: Training, server: JobsServer) -> None:
    """A second command neither uploads nor pays beside the first; it may cancel its job."""
    server.course = ("running",) * 1000
    told: list[str] = []

    async def both() -> None:
        first = asyncio.ensure_future(
            fine_tune(training.trainer, training.data, training.context())
        )
        await _until(server, first)
        with pytest.raises(RunLockedError, match="in use by"):
            await fine_tune(training.trainer, training.data, training.context())
        told.append(await training.trainer.cancel(training.context()))
        with pytest.raises(RunFailedError, match="was cancelled"):
            await first

    asyncio.run(both())
    assert told == [f"job {server.job.id}: cancelled"]
    assert (server.asked[UPLOAD], len(server.jobs)) == (2, 1)


async def _until(server: JobsServer, first: asyncio.Future[Trained]) -> None:
    """Return once the server has been asked for the state of a job."""
    loop = asyncio.get_running_loop()
    looked = asyncio.Event()
    server.looked = lambda _: (loop.call_soon_threadsafe(looked.set), None)[1]
    first.add_done_callback(lambda _: looked.set())
    await looked.wait()
