"""A scored run, a calibration that was fitted on marks of it, and the run once more."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from calibration_rows import scored_run, script
from clear_pipeline.cli import app
from clear_pipeline.config import Config
from clear_pipeline.llm.scripted import ScriptedChat
from clear_pipeline.marking import sample_to_mark, write_marks
from clear_pipeline.pipeline import Pipeline
from clear_pipeline.run import Run
from clear_pipeline.stages.base import SilentProgress
from marked_rows import is_bad


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """200 rows, every third one wrong."""
    return scored_run(tmp_path_factory.mktemp("calibrate"))[0]


@pytest.fixture
def again(run: Run, tmp_path: Path) -> Callable[..., Run]:
    """Runs a copy of the finished run again, with another config; its model must not be asked."""
    out = shutil.copytree(run.path, tmp_path / "again")

    def rerun(settings: Config, progress: SilentProgress | None = None) -> Run:
        model = ScriptedChat(script)
        pipeline = Pipeline(settings, models={"scorer": model}, progress=progress)
        try:
            return pipeline.run(run.path.parent / "rows.jsonl", out=out)
        finally:
            assert model.requests == []

    return rerun


@pytest.fixture(scope="module")
def file(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A calibration on 120 marks of a sample, as the command line writes it."""
    folder = tmp_path_factory.mktemp("file")
    sample = sample_to_mark(run, 120, seed=1)
    marks = {i: "bad" if is_bad(i) else "good" for i in sample["id"]}
    write_marks(folder / "marks.csv", sample, marks)
    out = folder / "calibration.json"
    arguments = ["calibrate", str(run.path), "--marks", str(folder / "marks.csv")]
    result = CliRunner().invoke(app, [*arguments, "--out", str(out)], catch_exceptions=False)
    assert result.exit_code == 0
    assert "noise rate" in result.output
    return out
