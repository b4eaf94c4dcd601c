"""The benchmark of a million rows, with two thousand: facts, no times."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.million import check, run, table
from benchmarks.million_data import copies, unusable, written

ROOT = Path(__file__).parents[2]
ROWS = 2_000


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(ROWS, tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def calm(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("calm") / "run"
    steps = run(data, out)
    assert "score" in table(steps, ROWS)
    return out


def test_the_planted_faults_are_counted() -> None:
    """Rows 507 and 1507 of 2,000 are unusable; 50, 150, ... repeat an earlier one: twenty."""
    assert (unusable(507), unusable(508), unusable(ROWS)) == (0, 1, 2)
    assert (copies(50), copies(51), copies(ROWS)) == (0, 1, 20)


def test_every_row_has_one_fate(calm: Path) -> None:
    """Six files of four formats, gzip and zstd among them: fates sum, planted faults are found."""
    fates = check(calm, ROWS)
    assert fates["quarantined"] == 2
    assert fates["duplicate"] >= 20
    assert fates["kept"] + fates["filtered"] == ROWS - 2 - fates["duplicate"]


def test_other_shards_give_the_same_ledger(calm: Path, data: Path, tmp_path: Path) -> None:
    """However the rows are cut, the ledger has the same bytes."""
    run(data, tmp_path / "run", shard_rows=150)
    ledgers = [(out / "ledger.parquet").read_bytes() for out in (calm, tmp_path / "run")]
    assert ledgers[0] == ledgers[1]


def test_a_killed_run_goes_on_to_the_same_ledger(calm: Path, data: Path, tmp_path: Path) -> None:
    """SIGKILL in the middle of the score; the same command ends with the same bytes."""
    command = [sys.executable, "-m", "benchmarks.million", "--rows", str(ROWS)]
    command += ["--cache", str(data.parent), "--out", str(tmp_path / "run")]
    killed = subprocess.run([*command, "--kill-after", "900"], cwd=ROOT, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert (tmp_path / "run" / "manifest.json.journal").is_file()
    subprocess.run(command, cwd=ROOT, check=True)
    ledgers = [(out / "ledger.parquet").read_bytes() for out in (calm, tmp_path / "run")]
    assert ledgers[0] == ledgers[1]
