"""A run through a Batch API, visit by visit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from batch_server import BatchServer
from clear_pipeline.config import build_config
from clear_pipeline.errors import (
    BatchPendingError,
)
from clear_pipeline.pipeline import Pipeline
from clear_pipeline.run import Run
from clear_pipeline.stages.base import SilentProgress

ROWS = 6
ONE_QUESTION = ["score.preset=paper", "score.k=0", "score.reflection=[yes_no]"]
PRICE = "models.scorer.price_per_mtok={input: 1.0, output: 2.0}"


class Visits:
    """The same run command, again and again."""

    def __init__(self, data: Path, out: Path, url: str, *, mode: str = "batch") -> None:
        self.data, self.out, self.mode = data, out, mode
        self.url = url
        self.stages = ["score", "filter"]
        self.settings = [*ONE_QUESTION, PRICE, "filter.keep={above: median}"]
        self.notes: list[str] = []

    def visit(self, mode: str | None = None) -> Run:
        progress = SilentProgress()
        config = build_config(
            flags={
                "models": {"scorer": {"model": "stub", "base_url": self.url, "backoff_s": 0.001}},
                "mode": mode or self.mode,
            },
            stages=self.stages,
            assignments=self.settings,
        )
        try:
            return Pipeline(config, progress=progress).run(self.data, out=self.out)
        finally:
            self.notes = progress.notes

    def wait(self) -> str:
        """A visit that ends with open batches; what it tells."""
        with pytest.raises(BatchPendingError) as pending:
            self.visit()
        return str(pending.value)

    def finish(self, most: int = 10) -> tuple[Run, int]:
        """Come back until the run is done; also how often it had to be waited for."""
        for waits in range(most):
            try:
                return self.visit(), waits
            except BatchPendingError:
                continue
        raise AssertionError(f"not done after {most} visits")

    def command(self) -> list[str]:
        """The same as a process."""
        assignments = [*self.settings, "models.scorer.backoff_s=0.001"]
        return [
            sys.executable, "-m", "clear_pipeline", "run", str(self.data), "--out", str(self.out),
            "--base-url", self.url, "--model", "stub", "--mode", self.mode, "--yes",
            "--stages", ",".join(self.stages),
            *(word for text in assignments for word in ("--set", text)),
        ]  # fmt: skip

    def killed(self, server: BatchServer, hook: str) -> None:
        """A visit whose process is killed when the server comes to that point."""
        process = subprocess.Popen(self.command(), stdout=subprocess.DEVNULL, stderr=-3)
        setattr(server, hook, lambda: os.kill(process.pid, signal.SIGKILL))
        assert process.wait(timeout=300) == -signal.SIGKILL
        setattr(server, hook, lambda: None)


def spend(run: Run) -> tuple[int, int, float]:
    """Prompt tokens, completion tokens and micro-dollars of the batches."""
    used = run.manifest.usage["stub, batches"]
    return used["usage"]["prompt"], used["usage"]["completion"], round(1e6 * used["usd"], 6)
