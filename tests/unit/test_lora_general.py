"""The trainer `lora` on general rows: trained on, measured before and after, and warned of."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="the extra `train` is not installed")

from transformers import PreTrainedModel  # noqa: E402

from clear_pipeline.finetune import fine_tune  # noqa: E402
from clear_pipeline.finetune.lora.labels import Encoded  # noqa: E402
from clear_pipeline.finetune.lora.prepare import prepared  # noqa: E402
from clear_pipeline.finetune.lora.source import model_of  # noqa: E402
from clear_pipeline.stages.base import SilentProgress  # noqa: E402
from lora_rows import chat, context, mixed_data, settings, trained, write  # noqa: E402


def loss(model: PreTrainedModel, rows: Sequence[Encoded]) -> float:
    """Mean of -log p over all learnt tokens, each row by itself."""
    told: list[float] = []
    for row in rows:
        with torch.no_grad():
            logprobs = torch.log_softmax(model(torch.tensor([row.ids])).logits[0], dim=-1)
        told += [
            -float(logprobs[at - 1, label]) for at, label in enumerate(row.labels) if label >= 0
        ]
    return sum(told) / len(told)


def test_general_rows_are_measured_before_and_after(tmp_path: Path) -> None:
    """Both losses are those of the model that was there and of the one that came out."""
    data = mixed_data(tmp_path)
    done = trained(tmp_path, data, weights="f32")
    rows = prepared(settings(tmp_path), data, SilentProgress()).general
    check = done.general
    assert check is not None
    assert check.rows == len(rows) == 2
    assert check.tokens == sum(row.learnt for row in rows)
    assert check.before == pytest.approx(loss(model_of(tmp_path / "tiny.gguf"), rows), abs=1e-4)
    after = loss(model_of(Path(done.model.model)), rows)
    assert check.after == pytest.approx(after, abs=1e-4)
    assert done.summary["general loss change [95 %]"] == check.shown()
    best = done.summary["weights of step"]
    general = {p.step: p.general_loss for p in done.curve if p.general_loss is not None}
    assert general == {0: check.before, best: check.after}
    assert done.summary["rows"] == 20
    assert done.summary["general rows trained on"] == "4 of 20 rows (20.0 %)"
    assert "general loss" in (tmp_path / "out" / "curve.svg").read_text()
    command = str(done.summary["answers to general rows"])
    assert f"--arm before={tmp_path}/tiny.gguf --arm after={done.model.model}" in command


def test_what_is_forgotten_is_said(tmp_path: Path) -> None:
    """A model that learnt the opposite is worse beyond its interval; again when it is read back."""
    data = mixed_data(tmp_path)
    wrong = write(tmp_path / "w.jsonl", [chat(f"is {n} a number?", "no" * 9) for n in range(20)])
    data = replace(data, train=wrong, valid=None, mix=None, general=tmp_path / "general.jsonl")
    made = settings(tmp_path, epochs=6, learning_rate=0.03)
    for _ in range(2):
        progress = SilentProgress()
        done = asyncio.run(fine_tune(made, data, context(tmp_path, progress)))
        assert done.general is not None
        assert done.general.is_worse
        assert progress.notes[-1] == f"warning: {done.general.warning()}"


def test_general_rows_that_cannot_be_trained_on(tmp_path: Path) -> None:
    """Those that are too long are left out, and the share that is left is said."""
    data = mixed_data(tmp_path)
    assert data.mix is not None
    lines = data.train.read_text().splitlines(keepends=True)
    long = write(tmp_path / "long.jsonl", [chat("x" * 500, "y")])
    data.train.write_text("".join([*lines[:-1], long.read_text()]))
    found = settings(tmp_path, max_tokens=100).preflight(data, context(tmp_path))
    assert [f.reason for f in found if f.row is None and f.file == data.train] == [
        (
            "3 of 4 general rows and 16 of 16 others can be used: general rows are 15.8% of all "
            "that are trained on"
        )
    ]


def test_own_rows_that_cannot_be_trained_on(tmp_path: Path) -> None:
    """General rows do not stand in for them: 9 are too few, and the share that is left is said."""
    data = mixed_data(tmp_path)
    lines = data.train.read_text().splitlines(keepends=True)
    long = write(tmp_path / "long.jsonl", [chat("x" * 500, "y")]).read_text()
    data.train.write_text("".join([long] * 7 + lines[7:]))
    found = settings(tmp_path, max_tokens=100).preflight(data, context(tmp_path))
    assert [f.reason for f in found if f.row is None and f.file == data.train] == [
        "9 usable rows; a training needs at least 10",
        (
            "4 of 4 general rows and 9 of 16 others can be used: general rows are 30.8% of all "
            "that are trained on"
        ),
    ]
