"""A training at a platform of fine-tuning jobs, again and again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from clear_pipeline.cli import app
from clear_pipeline.errors import RunFailedError
from clear_pipeline.finetune import Trained, TrainingContext, TrainingData, fine_tune
from clear_pipeline.finetune.openai_jobs import OpenAIJobs
from clear_pipeline.llm.settings import ModelSettings
from clear_pipeline.own_loop import in_own_loop
from clear_pipeline.stages.base import SilentProgress
from jobs_server import JobsServer

KEY = "sk-secret-0123456789"
CREATE = "POST /v1/fine_tuning/jobs"
UPLOAD = "POST /v1/files"
LOOK = "GET /v1/fine_tuning/jobs/ID"


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
