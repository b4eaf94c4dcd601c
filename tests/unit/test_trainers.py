"""What holds for every trainer: its settings, and how rows are read and a curve is drawn."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from clear_pipeline.errors import (
    ConfigError,
    MissingExtraError,
    UsageError,
)
from clear_pipeline.finetune import (
    TRAINERS,
    Finding,
    Point,
    Trained,
    Trainer,
    TrainingContext,
    TrainingData,
    trainer_named,
)
from clear_pipeline.finetune.lora import Lora
from clear_pipeline.finetune.openai_jobs import OpenAIJobs
from clear_pipeline.finetune.picture import curve_svg
from clear_pipeline.finetune.rows import TrainingRow, training_rows
from clear_pipeline.llm.settings import ModelSettings
from clear_pipeline.settings import Settings
from clear_pipeline.stages.base import SilentProgress
from counting_trainer import ROW, Counting, write


@pytest.mark.parametrize("kind", [*TRAINERS.values(), Counting], ids=lambda kind: kind.name)
def test_contract_of_settings(kind: type[Trainer]) -> None:
    """A trainer is a frozen settings model of its kind, whose unknown keys are errors."""
    assert issubclass(kind, Settings)
    made = kind()
    assert isinstance(made, Trainer)
    assert made.model_dump()["kind"] == kind.name
    assert kind.version >= 1
    assert json.loads(json.dumps(made.identity()))
    with pytest.raises(ValidationError):
        kind.model_validate({"no_such_setting": 1})
    with pytest.raises(ValidationError):
        made.kind = "other"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("assignment", "told"),
    [
        ("base={model: m, baseurl: 'http://127.0.0.1:1/v1'}", "base.baseurl: .* mean 'base_url'"),
        ("base={model: m, zzz: 1}", "unknown key 'zzz'; base has model, base_url, "),
        ("max_attempts=3", r"unknown key 'max_attempts'; did you mean base\.max_attempts"),
        ("nepochs=3", "did you mean 'n_epochs'"),
    ],
)
def test_an_unknown_key_is_told_with_those_of_its_place(assignment: str, told: str) -> None:
    """Of the model that is trained, not of its trainer."""
    with pytest.raises(ConfigError, match=told):
        trainer_named("openai-jobs", [assignment])


def test_rows_of_a_file(tmp_path: Path) -> None:
    """Blank lines count as lines and are no rows; broken ones say why."""
    path = tmp_path / "train.jsonl"
    path.write_text(f"{json.dumps(ROW)}\n\n[1]\n{{\n")
    row, listed, cut = training_rows(path)
    assert isinstance(row, TrainingRow)
    assert (row.line, [turn.content for turn in row.turns]) == (1, ["2 + 2?", "4"])
    assert isinstance(listed, Finding)
    assert str(listed) == "train.jsonl:3: no JSON object"
    assert isinstance(cut, Finding)
    assert str(cut).startswith("train.jsonl:4: no JSON: ")


@pytest.mark.parametrize("line", ['{"messages": NaN}', '{"a": 1, "a": 2}', "[" * 9000, "\xff"])
def test_lines_that_others_would_not_read(tmp_path: Path, line: str) -> None:
    """What only a lenient reader takes for JSON, or no reader, is an error of its line."""
    path = tmp_path / "train.jsonl"
    path.write_bytes(line.encode("latin-1"))
    (found,) = training_rows(path)
    assert isinstance(found, Finding)
    assert str(found).startswith("train.jsonl:1: no JSON: ")


@pytest.mark.parametrize(
    ("weights", "learnt"),
    [
        ((None, None, None, None), (False, False, False, True)),
        ((None, 0, None, 1), (False, False, False, True)),
        ((None, 1, None, 0), (False, True, False, False)),
        ((None, None, None, 1), (False, True, False, True)),
    ],
)
def test_learnt_turns(
    tmp_path: Path, weights: tuple[float | None, ...], learnt: tuple[bool, ...]
) -> None:
    """Without weights the last turn is learnt; with some, every assistant's without a 0."""
    roles = ("user", "assistant", "user", "assistant")
    turns = [
        {"role": role, "content": "x"} | ({} if weight is None else {"weight": weight})
        for role, weight in zip(roles, weights, strict=True)
    ]
    (row,) = training_rows(write(tmp_path / "train.jsonl", {"messages": turns}))
    assert isinstance(row, TrainingRow)
    assert row.learnt == learnt


def test_a_missing_library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The error has the pip line."""
    monkeypatch.setitem(sys.modules, "peft", None)
    ctx = TrainingContext(tmp_path, SilentProgress())
    with pytest.raises(MissingExtraError, match=r"peft.*pip install 'clear-pipeline\[train\]'"):
        Lora().preflight(TrainingData(Path("train.jsonl")), ctx)


def test_settings_from_the_command_line() -> None:
    """Values are YAML; what is wrong is told with its name."""
    made = trainer_named("lora", ["learning_rate=1e-3", "patience=null", "method=full"])
    assert made == Lora(learning_rate=0.001, patience=None, method="full")
    with pytest.raises(ConfigError, match="learning_rate"):
        trainer_named("lora", ["learning_rate=-1"])
    with pytest.raises(ConfigError, match="say how many with top_layers"):
        trainer_named("lora", ["method=partial"])


def test_settings_from_a_file(tmp_path: Path) -> None:
    """The file names its trainer, and the command line goes before its values."""
    path = tmp_path / "trainer.yaml"
    path.write_text("{kind: openai-jobs, base: {model: m}, n_epochs: 2, suffix: a}")
    made = trainer_named(None, ["n_epochs=4"], file=path)
    assert made == OpenAIJobs(base=ModelSettings(model="m"), n_epochs=4, suffix="a")
    with pytest.raises(UsageError, match="has settings of openai-jobs"):
        trainer_named("lora", file=path)
    assert trainer_named(None) == Lora()


def test_the_rate_of_a_method() -> None:
    """The paper's where all weights of a layer change, twenty times that beside them."""
    rates = [Lora(method=name).peak_rate for name in ("lora", "adapters", "full")]
    assert rates == [2e-4, 2e-4, 1e-5]


def test_picture_of_a_curve() -> None:
    """Loss 4 of 4 is at the top, 1 of 4 a quarter up; what is no number is left out."""
    points = (
        Point(step=0, valid_loss=4.0),
        Point(step=1, train_loss=math.inf, learning_rate=0.1),
        Point(step=2, valid_loss=1.0, learning_rate=0.0),
    )
    model = ModelSettings(model="m", base_url="http://127.0.0.1:1/v1")
    drawn = curve_svg(Trained(model=model, curve=points))
    # the plot area is from x 64 to 736 and from y 308 up to 64
    assert 'points="64.0,64.0 736.0,247.0 "' in drawn
    assert 'points="400.0,308 400.0,64.0 736.0,308.0 736.0,308"' in drawn
    assert "validation loss" in drawn
    assert "training loss" not in drawn
