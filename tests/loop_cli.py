"""`clear-pipeline loop` as a user types it, and what it leaves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from loop_server import Platform
from stub_server import StubServer, question

IN_FLIGHT = 4


class Servers(NamedTuple):
    """Who judges, and who trains."""

    judge: StubServer
    platform: Platform

    def repeats(self) -> int:
        """Questions that were asked more than once, over both."""
        asked = Counter(map(question, self.platform.asked_models))
        return sum(n - 1 for n in self.judge.counts().values()) + sum(n - 1 for n in asked.values())


def words(servers: Servers, data: Path, out: Path, *more: str) -> list[str]:
    """The loop as it is typed."""
    base = f"{{model: base, base_url: '{servers.platform.url}', backoff_s: 0.001}}"
    settings = {
        "models.scorer.max_in_flight": IN_FLIGHT, "load.shard_rows": 10,
        "trainer.base": base, "trainer.poll_s": 0.001, "trainer.max_poll_s": 0.002,
        "trainer.price_per_mtok": 0, "loop.hold_out": 0.3,
    }  # fmt: skip
    return [
        "loop", str(data), "--out", str(out), "--model", "judge", "--base-url", servers.judge.url,
        "--stages", "score,filter,rectify", "--trainer", "openai-jobs",
        *(word for name, value in settings.items() for word in ("--set", f"{name}={value}")),
        *more,
    ]  # fmt: skip


def start(typed: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "clear_pipeline", *typed],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "COLUMNS": "180"},
    )


def cli(typed: list[str]) -> subprocess.CompletedProcess[str]:
    """The command, to its end."""
    process = start(typed)
    said, told = process.communicate(timeout=600)
    return subprocess.CompletedProcess(typed, process.returncode, said, told)


def record(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "loop.json").read_text())
    return found


def outcome(out: Path) -> list[dict[str, Any]]:
    """What the rounds came to, whatever the calls were that it took."""
    kept = ("rows", "train_rows", "figures", "compared_with", "gains")
    return [{name: done[name] for name in kept} for done in record(out)["rounds"]]


def value(figures: list[dict[str, Any]], metric: str) -> float:
    (found,) = [each["value"]["value"] for each in figures if each["metric"] == metric]
    return float(found)
