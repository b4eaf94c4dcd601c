"""A run's rows on their way to a training: they never take the place of another one's."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner, Result

from clear_pipeline.cli import app
from clear_pipeline.config import build_config
from clear_pipeline.errors import RunMismatchError, UsageError
from clear_pipeline.pipeline import Pipeline
from jobs_server import JobsServer
from jobs_training import Training


def run_of(folder: Path, name: str) -> Path:
    """A finished run over forty rows."""
    file = folder / f"{name}.jsonl"
    rows = [{"prompt": f"{name} of {number}?", "completion": str(number)} for number in range(40)]
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    config = build_config(stages=["dedup"], assignments=["export.valid_fraction=0.3"])
    return Pipeline(config).run(str(file), out=folder / name).path


def finetuned(training: Training, run: Path, *more: str) -> Result:
    """The command on a run in place of a file."""
    words = training.words(*more)
    words[1] = str(run)
    at = words.index("--valid")
    del words[at : at + 2]
    return CliRunner().invoke(app, words)


def files_in(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_rows_of_a_run(training: Training, server: JobsServer, tmp_path: Path) -> None:
    """What is uploaded lies in `data`, and nothing else is left of its way there."""
    done = finetuned(training, run_of(tmp_path, "sum"))
    assert done.exit_code == 0, done.output
    uploaded = [file.content for file in server.files.values()]
    data = training.folder / "data"
    assert uploaded == [(data / name).read_bytes() for name in ("train.jsonl", "valid.jsonl")]
    assert not list(training.folder.glob(".data*"))
    again = finetuned(training, tmp_path / "sum")
    assert (again.exit_code, len(server.jobs)) == (0, 1)


def test_a_mistyped_directory(training: Training, tmp_path: Path) -> None:
    """The rows of the training that lies there stay, and so does all else."""
    assert finetuned(training, run_of(tmp_path, "sum")).exit_code == 0
    before = files_in(training.folder)
    refused = finetuned(training, run_of(tmp_path, "product"))
    assert isinstance(refused.exception, RunMismatchError)
    assert "other train, valid; give another --out" in str(refused.exception)
    assert files_in(training.folder) == before


def test_a_price_that_is_refused(training: Training, tmp_path: Path) -> None:
    """Nothing is left that would stand in the way of another training."""
    refused = finetuned(training, run_of(tmp_path, "sum"), "--set", "price_per_mtok=5000")
    assert isinstance(refused.exception, UsageError)
    assert "Add --yes" in str(refused.exception)
    assert not (training.folder / "data").exists()
    assert finetuned(training, run_of(tmp_path, "product")).exit_code == 0
