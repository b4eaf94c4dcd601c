"""A training at a platform on loopback, as a command: asked about, stopped, killed, cancelled."""

from __future__ import annotations

import asyncio
import json
import signal
from collections import deque
from pathlib import Path

import pytest

from clear_pipeline.errors import (
    BatchPendingError,
    RunFailedError,
    RunLockedError,
    UsageError,
)
from clear_pipeline.finetune import Trained, fine_tune
from jobs_server import JobsServer
from jobs_training import CREATE, UPLOAD, Training, signalled


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


def test_general_rows(training: Training, server: JobsServer, tmp_path: Path) -> None:
    """They are uploaded after the others; the check of the answers is a command at that address."""
    general = tmp_path / "general.jsonl"
    rows = [{"prompt": f"is {n} odd?", "completion": "no"} for n in range(30)]
    general.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    done = training.command("--mix", str(general), "--mix-share", "0.2", "--json")
    assert done.exit_code == 0, done.output
    train, _ = server.files.values()
    own = training.data.train.read_bytes()
    assert train.content.startswith(own)
    assert train.content.count(b"\n") == 13  # 10 own rows; 2.5, rounded up, make a fifth
    summary = json.loads(done.stdout)["summary"]
    assert summary["general rows trained on"] == "3 of 13 rows (23.1 %)"
    data = training.folder / "data"
    assert summary["answers to general rows"] == (
        f"clear-pipeline evaluate model {data}/general.jsonl --out {training.folder}/general "
        f"--arm before=base --arm after=ft:base:loop::1 --base-url {server.url} "
        "--api-key-env TUNING_KEY"
    )
    assert (data / "mixed.jsonl").read_bytes() == train.content


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


def test_what_has_begun_is_not_asked_about_again(training: Training, server: JobsServer) -> None:
    """A job that was agreed to is collected without consent, whatever the cap; a failed one not."""
    priced = ("--set", "price_per_mtok=5000", "--max-usd", "0.01")
    training.stops(BatchPendingError, wait=False)
    server.job.course = deque(["failed"])
    assert isinstance(training.command(*priced).exception, RunFailedError)
    assert training.command(*priced).exit_code == 3
    training.stops(BatchPendingError, wait=False)
    assert training.command(*priced).exit_code == 0


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
