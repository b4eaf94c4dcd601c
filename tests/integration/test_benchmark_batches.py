"""The benchmark of batches, on a few rows."""

from __future__ import annotations

from pathlib import Path

import pytest

from batch_server import BatchServer
from benchmarks.batches import measure


def test_every_request_is_answered_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two kills, failures and expiry: one answer each, and the run's cost is the server's."""
    with BatchServer() as server:
        answered = measure(server, tmp_path, rows=30, per_batch=12, seed=0)
    assert (len(answered), max(answered.values())) == (30, 1)
    shown = capsys.readouterr().out
    assert "of those seen first 2 failed and 1 expired" in shown
    assert "asked: 33 times, 33 needed" in shown
    assert "$0.000108 by the server's count, $0.000108 by the run's" in shown
