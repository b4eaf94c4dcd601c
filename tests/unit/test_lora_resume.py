"""The trainer `lora` after a kill: it goes on as if nothing had been."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the extra `train` is not installed")

from clear_pipeline.finetune.claim import Claim
from lora_rows import mixed_data, trained

KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from safetensors.torch import load_file
from lora_rows import context, mixed_data, settings
from clear_pipeline.finetune import fine_tune
from clear_pipeline.stages.base import SilentProgress

class Deadly(SilentProgress):
    rows = 0
    def advance(self, rows=1):
        self.rows += rows
        if self.rows >= 35:  # the seventh step of five rows
            os.kill(os.getpid(), signal.SIGKILL)

folder = Path(sys.argv[1])
made = settings(folder, batch_size=5, dropout=0.1, checks_per_epoch=2)
asyncio.run(fine_tune(made, mixed_data(folder), context(folder, Deadly())))
"""


def test_a_killed_training_goes_on_as_if_nothing_had_been(tmp_path: Path) -> None:
    """After kill -9 in step 7 curve, weights and general rows are as of a training in one go."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    whole.mkdir()
    killed.mkdir()
    given = {"batch_size": 5, "dropout": 0.1, "checks_per_epoch": 2}
    expected = trained(whole, mixed_data(whole), **given)
    tests = str(Path(__file__).parents[1])
    code = f"import sys; sys.path.insert(0, {tests!r})\n{KILLED}"
    died = subprocess.run([sys.executable, "-c", code, str(killed)], check=False)
    assert died.returncode == -9
    steps = sorted(path.name for path in (killed / "out/checkpoints").iterdir())
    assert steps == ["checkpoint-4", "checkpoint-6"]
    resumed = trained(killed, mixed_data(killed), **given)
    assert resumed.curve == expected.curve
    moved = {"answers to general rows": None}  # names the folder
    assert resumed.summary | moved == expected.summary | moved
    assert resumed.general == expected.general is not None
    claims = [Claim.read(folder / "out") for folder in (whole, killed)]
    assert claims[0] == claims[1]
    one, other = (Path(each.model.model).read_bytes() for each in (expected, resumed))
    assert one == other


def test_a_model_file_that_is_gone(tmp_path: Path) -> None:
    """It is written again from the checkpoint, and nothing is trained for it."""
    first = trained(tmp_path)
    model = Path(first.model.model)
    content = model.read_bytes()
    model.unlink()
    assert trained(tmp_path) == first
    assert model.read_bytes() == content


def test_a_checkpoint_that_was_cut_short_is_none(tmp_path: Path) -> None:
    """Without its last file a checkpoint is passed over, and its steps are done again."""
    expected = trained(tmp_path)
    (tmp_path / "out" / "trained.json").unlink()
    (tmp_path / "out/checkpoints/checkpoint-12/whole.json").unlink()
    assert trained(tmp_path).curve == expected.curve
