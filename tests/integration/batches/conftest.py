"""A server with a Batch API, six rows, and the command that visits them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from batch_server import BatchServer
from batch_visits import ROWS, Visits


@pytest.fixture
def server() -> Iterator[BatchServer]:
    with BatchServer() as server:
        server.course = ("completed",)
        yield server


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Rows of one sentence, so that each is asked one question."""
    path = tmp_path / "rows.jsonl"
    rows = [{"prompt": f"What is {n} + 1?", "response": str(n + 1)} for n in range(ROWS)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def visits(data: Path, tmp_path: Path, server: BatchServer) -> Visits:
    return Visits(data, tmp_path / "run", server.url)
