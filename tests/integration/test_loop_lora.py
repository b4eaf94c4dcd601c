"""A loop whose models are trained and served on this machine."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the extra `train` is not installed")
pytest.importorskip("xllamacpp", reason="the extra `local` is not installed")

from clear_pipeline.errors import MissingExtraError
from clear_pipeline.evaluate.models.report import figure_of
from clear_pipeline.loop import Loop, LoopRecord
from clear_pipeline.stages.base import SilentProgress
from loop_lora import GOOD, ROWS, judge, plan, run, write_rows
from stub_server import StubServer

SCRIPT = Path(__file__).parents[1] / "loop_lora.py"


def outcome(record: LoopRecord) -> list[object]:
    """What the rounds came to, wherever the files lie."""
    return [
        (done.rows, done.train_rows, done.training, done.figures, done.gains)
        for done in record.rounds
    ]


def test_killed_in_either_training_it_goes_on_as_if_nothing_had_been(tmp_path: Path) -> None:
    """After kill -9 in the first and in the second training figures and weights are the same.

    The trained model says colours to whatever it is asked, so that the judge takes its candidates;
    the one that it came from says none. No question is asked of the judge twice.
    """
    write_rows(tmp_path)
    calm, killed = tmp_path / "calm", tmp_path / "killed"
    with StubServer(judge) as stub:
        expected = run(tmp_path, calm, stub.url)
    (only,) = expected.rounds
    assert only.rows["kept"] == GOOD
    assert 0 < only.rows["rectified"] <= ROWS - GOOD
    base, tuned = expected.references
    assert (base.name, tuned.name) == ("base", "tuned")
    gain = figure_of(only.gains, "exact_match")
    assert gain is not None
    assert gain.value is not None
    assert gain.value.value > 0
    with StubServer(judge) as stub:
        # 12 epochs of some 26 rows in the first training, the second one has more
        for kill_at in (100, 400):
            words = [sys.executable, str(SCRIPT), str(tmp_path), str(killed), stub.url]
            died = subprocess.run([*words, str(kill_at)], check=False, capture_output=True)
            assert died.returncode == -9, died.stderr
        assert (killed / "round-1" / "tuned" / "trained.json").exists()
        assert not (killed / "round-1" / "final" / "trained.json").exists()
        resumed = run(tmp_path, killed, stub.url)
        assert set(stub.counts().values()) == {1}
    assert outcome(resumed) == outcome(expected)
    models = [out / "round-1" / "final" / "model.gguf" for out in (calm, killed)]
    assert models[0].read_bytes() == models[1].read_bytes()
    assert resumed.rounds[0].model.model == str(models[1].resolve())


def test_what_is_not_corrected_is_not_trained_twice(tmp_path: Path) -> None:
    """Where no candidate is taken, the curated rows are the filtered ones, and so is the model."""
    write_rows(tmp_path)
    progress = SilentProgress()
    with StubServer(judge) as stub:
        made = plan(tmp_path, stub.url, "rectify.eta=0.999")
        record = Loop(made, progress=progress).run(tmp_path / "rows.jsonl", out=tmp_path / "out")
    (only,) = record.rounds
    assert only.rows.get("rectified", 0) == 0
    assert only.model == record.references[1].model
    assert any("were trained on before: that model is taken" in note for note in progress.notes)
    assert not (tmp_path / "out" / "round-1" / "final").exists()


def test_without_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pip line comes before anything is read, asked or written."""
    write_rows(tmp_path)
    monkeypatch.setitem(sys.modules, "peft", None)
    with (
        StubServer(judge) as stub,
        pytest.raises(MissingExtraError, match=r"pip install 'clear-pipeline\[train\]'"),
    ):
        Loop(plan(tmp_path, stub.url)).run(tmp_path / "rows.jsonl", out=tmp_path / "out")
    assert not stub.bodies
    assert not (tmp_path / "out").exists()


def test_a_loss_that_is_no_number(tmp_path: Path) -> None:
    """The last good checkpoint is the round's model, and the record says at which step it ended."""
    write_rows(tmp_path)
    with StubServer(judge) as stub:
        # the first step has rate 0
        wild = ("trainer.learning_rate=1e30", "trainer.warmup=0.9", "trainer.checks_per_epoch=99")
        made = plan(tmp_path, stub.url, "trainer.method=lora", "export.valid_fraction=0.3", *wild)
        record = Loop(made).run(tmp_path / "rows.jsonl", out=tmp_path / "out")
    (only,) = record.rounds
    assert only.training["ended"] == "the loss was no number any more at step 2"
    assert only.training["weights of step"] == 1
