"""A platform of fine-tuning jobs on loopback, and a training there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs_server import JobsServer
from jobs_training import KEY, Training


@pytest.fixture
def server() -> Iterator[JobsServer]:
    with JobsServer() as running:
        yield running


@pytest.fixture
def training(tmp_path: Path, server: JobsServer, monkeypatch: pytest.MonkeyPatch) -> Training:
    monkeypatch.setenv("TUNING_KEY", KEY)
    return Training(tmp_path, server.url)
