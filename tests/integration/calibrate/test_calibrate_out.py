"""Where `calibrate` writes: never over what it reads, and never over a file of the run."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from clear_pipeline.cli import app
from clear_pipeline.errors import UsageError
from clear_pipeline.run import Run
from marked_rows import row_ids, write


@pytest.mark.parametrize(
    ("name", "message"),
    [("", "is a directory; name a file"), ("plot.svg", "name the file: --out .*plot.json")],
)
def test_a_name_that_cannot_hold_the_file_is_refused(
    run: Run, tmp_path: Path, name: str, message: str
) -> None:
    """A folder, and the name of the plot, which would overwrite what was fitted."""
    marks = write(tmp_path / "marks.csv", row_ids(range(1, 91)))
    arguments = ["calibrate", str(run.path), "--marks", str(marks), "--out", str(tmp_path / name)]
    with pytest.raises(UsageError, match=message):
        CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert [path.name for path in tmp_path.iterdir()] == ["marks.csv"]


@pytest.mark.parametrize("out", ["marks.csv", "link.json", "ranking.json", "run/manifest.json"])
def test_nothing_that_is_read_is_overwritten(
    run: Run, file: Path, tmp_path: Path, out: str
) -> None:
    """Neither the marks, under whichever name, nor the ranking, nor a file of the run."""
    marks = write(tmp_path / "marks.csv", row_ids(range(1, 91)))
    (tmp_path / "link.json").symlink_to(marks)
    ranking = shutil.copy(file, tmp_path / "ranking.json")
    copied = shutil.copytree(run.path, tmp_path / "run")
    before = (tmp_path / out).read_bytes()
    words = ["calibrate", str(copied), "--marks", str(marks), "--ranking", str(ranking)]
    with pytest.raises(UsageError, match=r"would overwrite --|a file of the run .*no calibration"):
        CliRunner().invoke(app, [*words, "--out", str(tmp_path / out)], catch_exceptions=False)
    assert (tmp_path / out).read_bytes() == before


def test_a_probe_is_not_overwritten(tmp_path: Path) -> None:
    """The file that is fitted on is no place for what was fitted, however its path is written."""
    probe = tmp_path / "probe.parquet"
    probe.write_bytes(b"PAR1")
    words = ["calibrate", str(probe), "--out", f"{tmp_path}/../{tmp_path.name}/probe.parquet"]
    with pytest.raises(UsageError, match=r"would overwrite .*probe\.parquet, which is read"):
        CliRunner().invoke(app, words, catch_exceptions=False)
    assert probe.read_bytes() == b"PAR1"


def test_a_calibration_in_its_run_is_fitted_anew(run: Run, tmp_path: Path) -> None:
    """It is the user's file, also in the run directory."""
    copied = shutil.copytree(run.path, tmp_path / "run")
    marks = write(tmp_path / "marks.csv", row_ids(range(1, 91)))
    words = ["calibrate", str(copied), "--marks", str(marks)]
    for _ in range(2):
        out = ["--out", str(copied / "calibration.json")]
        assert CliRunner().invoke(app, [*words, *out], catch_exceptions=False).exit_code == 0
