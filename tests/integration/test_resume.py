"""Kill and resume: nothing is lost, nothing is asked twice, the bytes are the same."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
DEMO = TESTS.parent / "data" / "demo"
COMPARED = ("ledger.parquet", "quarantine.jsonl", "DATASET_CARD.md")


def scripted_run(out: Path, kill_at: int | None = None) -> int:
    """Run the chain in a process of its own; returns its exit status."""
    command = [sys.executable, str(TESTS / "scripted_run.py"), str(DEMO), str(out)]
    if kill_at is not None:
        command.append(str(kill_at))
    return subprocess.run(command, check=False, timeout=600).returncode


def files(run: Path) -> dict[str, bytes]:
    """What a run hands over; the report also tells the spend, which a resumed run adds to."""
    paths = [run / name for name in COMPARED] + sorted((run / "export").iterdir())
    return {str(path.relative_to(run)): path.read_bytes() for path in paths}


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("calm") / "run"
    assert scripted_run(out) == 0
    return out


@pytest.mark.parametrize("share", [0.05, 0.4, 0.8])
def test_killed_and_resumed_equals_calm(calm: Path, tmp_path: Path, share: float) -> None:
    """A run killed at any event and run again hands over the same bytes as a calm run."""
    events = int((calm / "events").read_text().split()[0])
    out = tmp_path / "run"
    assert scripted_run(out, kill_at=int(events * share)) == -signal.SIGKILL
    assert scripted_run(out) == 0
    assert files(out) == files(calm)


def test_killed_again_and_again(calm: Path, tmp_path: Path) -> None:
    """A run that is killed every few events still comes to its end, with the same bytes."""
    events = int((calm / "events").read_text().split()[0])
    out = tmp_path / "run"
    status, kills = scripted_run(out, kill_at=events // 3), 1
    while status == -signal.SIGKILL and kills < 20:
        status = scripted_run(out, kill_at=events // 3)
        kills += 1
    assert status == 0
    assert kills > 1
    assert files(out) == files(calm)


def test_finished_run_asks_nothing(calm: Path, tmp_path: Path) -> None:
    """A finished run that is copied elsewhere and run again makes no call; its bytes stay."""
    out = shutil.copytree(calm, tmp_path / "copy")
    assert scripted_run(out) == 0
    assert (out / "events").read_text().split()[1] == "0"
    assert files(out) == files(calm)
