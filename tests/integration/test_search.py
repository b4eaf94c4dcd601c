"""A search with the trainer `lora` from the command line to its model, and after a kill."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

pytest.importorskip("torch", reason="the extra `train` is not installed")
pytest.importorskip("optuna", reason="the extra `train` is not installed")

from clear_pipeline.cli import app
from clear_pipeline.finetune.search import SearchReport
from clear_pipeline.stages.base import SilentProgress
from lora_rows import settings, training_data
from lora_search import SPACE, searched_and_trained

COMMAND = CliRunner()
KILLED = """
import os, signal, sys
from pathlib import Path
from clear_pipeline.stages.base import SilentProgress
from lora_search import searched_and_trained

class Deadly(SilentProgress):
    trainings = 0
    def start(self, label, total):
        self.trainings += 1
    def advance(self, rows=1):
        if self.trainings == 5 and rows:  # the second fold of the second trial
            os.kill(os.getpid(), signal.SIGKILL)

searched_and_trained(Path(sys.argv[1]), "killed", Deadly())
"""


def words(folder: Path, out: str, space: str = SPACE) -> list[str]:
    (folder / "search.yaml").write_text(space)
    data, base = training_data(folder), settings(folder).base
    given = ["finetune", str(data.train), "--valid", str(data.valid), "--out", str(folder / out)]
    given += ["--search", str(folder / "search.yaml")]
    for assignment in (f"base={base}", "batch_size=4", "learning_rate=1e-2", "rank=4"):
        given += ["--set", assignment]
    return given


def without_times(report: SearchReport) -> dict[str, Any]:
    told = report.model_dump()
    for trial in told["trials"]:
        del trial["seconds"]
    return told


def test_search_and_train(tmp_path: Path) -> None:
    """A table, the choice in words, and the model trained with the settings that were chosen."""
    done = COMMAND.invoke(app, words(tmp_path, "out"))
    assert done.exit_code == 0, done.output
    assert "Validation losses of the trials, mean over 3 folds" in done.stdout
    assert "Chosen: trial" in done.stdout
    assert (
        f"next: clear-pipeline run DATA --out RUN --model {tmp_path}/out/model.gguf" in done.stdout
    )
    report = json.loads((tmp_path / "out/search.json").read_text())
    claimed = json.loads((tmp_path / "out/training.json").read_text())["settings"]
    assert report["trials"][0]["settings"].items() <= claimed.items()
    assert not list((tmp_path / "out/search").rglob("*.gguf"))
    assert not list((tmp_path / "out/search").rglob("checkpoint-*"))


def test_a_killed_search_goes_on_as_if_nothing_had_been(tmp_path: Path) -> None:
    """After kill -9 in the second fold of the second trial: the same trials, losses and weights."""
    expected, whole = searched_and_trained(tmp_path, "whole", SilentProgress())
    tests = str(Path(__file__).parents[1])
    code = f"import sys; sys.path.insert(0, {tests!r})\n{KILLED}"
    died = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert died.returncode == -9
    journal = (tmp_path / "killed/search/trials.jsonl").read_text()
    assert (journal.count('"begun"'), journal.count('"ended"')) == (2, 1)
    measured = {path: path.stat().st_mtime_ns for path in measurements(tmp_path / "killed")}
    assert len(measured) == 4
    report, trained = searched_and_trained(tmp_path, "killed", SilentProgress())
    assert without_times(report) == without_times(expected)
    assert {path: path.stat().st_mtime_ns for path in measured} == measured
    one, other = (Path(each.model.model).read_bytes() for each in (whole, trained))
    assert one == other


def measurements(out: Path) -> list[Path]:
    return list(out.rglob("measured.json"))


def test_trials_without_a_search(tmp_path: Path) -> None:
    """The two options go together."""
    given = ["finetune", "train.jsonl", "--out", str(tmp_path / "out"), "--trials", "3"]
    assert "--trials goes with --search" in str(COMMAND.invoke(app, given).exception)


def test_a_rate_at_which_the_loss_is_no_number(tmp_path: Path) -> None:
    """Its trial fails with the reason, and the other one is chosen."""
    space = "{method: grid, folds: 3, space: {learning_rate: [0.01, 1e+30]}}"
    done = COMMAND.invoke(app, [*words(tmp_path, "out", space), "--json"])
    assert done.exit_code == 0, done.output
    chosen, failed = json.loads(done.stdout)["search"]["trials"]
    assert chosen["settings"] == {"learning_rate": 0.01}
    assert failed["state"] == "failed"
    assert "the loss was no number any more at step" in failed["reason"]
