"""What is said of validation rows that are too few to tell which step is the best."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the extra `train` is not installed")

from clear_pipeline.finetune import TrainingData
from clear_pipeline.finetune.lora.prepare import prepared
from clear_pipeline.stages.base import SilentProgress
from lora_rows import colours, settings, write


@pytest.mark.parametrize(
    ("names", "told"),
    [
        ("", "no validation rows: no step is known to be the best"),
        ("q", "1 validation row alone to tell which step is the best"),
        ("qrstuvwxy", "9 validation rows alone to tell which step is the best"),
        ("qrstuvwxyz", None),
    ],
)
def test_few_validation_rows(tmp_path: Path, names: str, told: str | None) -> None:
    """Fewer than ten are warned of; the training is not refused."""
    train = write(tmp_path / "train.jsonl", colours("abcdefghijklmnop"))
    valid = write(tmp_path / "valid.jsonl", colours(names)) if names else None
    found = prepared(settings(tmp_path), TrainingData(train, valid), SilentProgress()).findings
    if told is None:
        assert not found
    else:
        (finding,) = found
        assert finding.severity == "warning"
        assert finding.reason.startswith(told)
