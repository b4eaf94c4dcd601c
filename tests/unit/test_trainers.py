"""What holds for every trainer, and what the work around them promises."""

from __future__ import annotations

import asyncio
import json
import math
import sys
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Literal

import pytest
from pydantic import ValidationError

from clear_pipeline.config import build_config
from clear_pipeline.errors import (
    ConfigError,
    DamagedRunError,
    MissingExtraError,
    RunMismatchError,
    UsageError,
)
from clear_pipeline.finetune import (
    TRAINERS,
    Finding,
    Point,
    Price,
    Standing,
    Trained,
    Trainer,
    TrainingContext,
    TrainingData,
    fine_tune,
    read_trained,
    trainer_named,
)
from clear_pipeline.finetune.lora import Lora
from clear_pipeline.finetune.openai_jobs import OpenAIJobs
from clear_pipeline.finetune.picture import curve_svg
from clear_pipeline.finetune.rows import TrainingRow, training_rows
from clear_pipeline.llm.settings import ModelSettings
from clear_pipeline.own_loop import in_own_loop
from clear_pipeline.pipeline import Pipeline
from clear_pipeline.settings import Settings
from clear_pipeline.stages.base import SilentProgress

ROW = {
    "messages": [
        {"role": "user", "content": "2 + 2?"},
        {"role": "assistant", "content": "4"},
    ]
}


class Counting(Settings):
    """A trainer that learns nothing and leaves a line in its folder for each call of `train`."""

    name: ClassVar[str] = "counting"
    version: ClassVar[int] = 1
    kind: Literal["counting"] = "counting"
    epochs: int = 1

    def preflight(self, data: TrainingData, ctx: TrainingContext) -> tuple[Finding, ...]:
        return tuple(row for row in training_rows(data.train) if isinstance(row, Finding))

    def standing(self, ctx: TrainingContext) -> Standing:
        return "begun" if (ctx.folder / "calls").exists() else "fresh"

    def price(self, data: TrainingData) -> Price:
        return Price(0.0, None, "nothing")

    async def train(self, data: TrainingData, ctx: TrainingContext) -> Trained:
        with (ctx.folder / "calls").open("a") as file:
            file.write("train\n")
        model = ModelSettings(model="counted", base_url="http://127.0.0.1:1/v1")
        return Trained(model=model, curve=(Point(step=1, train_loss=0.5),), summary={"rows": 1})


def write(path: Path, *rows: object) -> Path:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def ctx(tmp_path: Path) -> TrainingContext:
    folder = tmp_path / "out"
    folder.mkdir()
    return TrainingContext(folder, SilentProgress())


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


def test_a_training_that_is_over_is_not_done_again(tmp_path: Path, ctx: TrainingContext) -> None:
    """The second call reads back the same result."""
    data = TrainingData(write(tmp_path / "train.jsonl", ROW))
    first = asyncio.run(fine_tune(Counting(), data, ctx))
    again = asyncio.run(fine_tune(Counting(), data, ctx))
    assert first == again == read_trained(ctx.folder)
    assert (ctx.folder / "calls").read_text() == "train\n"


def test_a_folder_goes_on_with_its_own_training_alone(tmp_path: Path, ctx: TrainingContext) -> None:
    """Other settings or other rows are refused by name; the same rows elsewhere are not."""
    data = TrainingData(write(tmp_path / "train.jsonl", ROW))
    asyncio.run(fine_tune(Counting(), data, ctx))
    moved = TrainingData(data.train.rename(tmp_path / "moved.jsonl"))
    asyncio.run(fine_tune(Counting(), moved, ctx))
    with pytest.raises(RunMismatchError, match="other settings"):
        asyncio.run(fine_tune(Counting(epochs=2), moved, ctx))
    other = TrainingData(write(tmp_path / "other.jsonl", ROW, ROW))
    with pytest.raises(RunMismatchError, match="other train;"):
        asyncio.run(fine_tune(Counting(), other, ctx))


def test_errors_stop_before_training(tmp_path: Path, ctx: TrainingContext) -> None:
    """Each bad row is named with its line and reason, ten of them, and nothing is trained."""
    bad = {"messages": [{"role": "user", "content": "hello"}]}
    data = TrainingData(write(tmp_path / "train.jsonl", ROW, *[bad] * 11))
    with pytest.raises(UsageError) as raised:
        asyncio.run(fine_tune(Counting(), data, ctx))
    assert "train.jsonl:2: no assistant turn" in str(raised.value)
    assert "and 1 more" in str(raised.value)
    assert not list(ctx.folder.iterdir())


def test_no_file(tmp_path: Path, ctx: TrainingContext) -> None:
    """A file that is not there is named."""
    data = TrainingData(write(tmp_path / "train.jsonl", ROW), tmp_path / "valid.jsonl")
    with pytest.raises(UsageError, match=r"valid\.jsonl: no such file"):
        asyncio.run(fine_tune(Counting(), data, ctx))


def test_warnings_are_noted(tmp_path: Path, ctx: TrainingContext) -> None:
    """A warning reaches the user and stops nothing."""

    class Wary(Counting):
        def preflight(self, data: TrainingData, ctx: TrainingContext) -> tuple[Finding, ...]:
            return (Finding(data.train, None, "only 1 row", "warning"),)

    data = TrainingData(write(tmp_path / "train.jsonl", ROW))
    progress = SilentProgress()
    asyncio.run(fine_tune(Wary(), data, replace(ctx, progress=progress)))
    assert progress.notes == ["warning: train.jsonl: only 1 row"]


def test_ten_warnings_are_noted(tmp_path: Path, ctx: TrainingContext) -> None:
    """Of more, the others are counted."""

    class Wary(Counting):
        def preflight(self, data: TrainingData, ctx: TrainingContext) -> tuple[Finding, ...]:
            return tuple(Finding(data.train, row, "long", "warning") for row in range(1, 13))

    data = TrainingData(write(tmp_path / "train.jsonl", ROW))
    progress = SilentProgress()
    asyncio.run(fine_tune(Wary(), data, replace(ctx, progress=progress)))
    assert len(progress.notes) == 11
    assert progress.notes[9:] == ["warning: train.jsonl:10: long", "warning: and 2 more"]


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


def test_a_missing_library(monkeypatch: pytest.MonkeyPatch, ctx: TrainingContext) -> None:
    """The error has the pip line."""
    monkeypatch.setitem(sys.modules, "peft", None)
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


def test_what_is_refused_is_not_trained(tmp_path: Path, ctx: TrainingContext) -> None:
    """The price is told before anything is done, and whoever hears it may end the work."""
    told = []

    def refuse(price: Price) -> None:
        told.append(price)
        raise UsageError("too much")

    data = TrainingData(write(tmp_path / "train.jsonl", ROW))
    with pytest.raises(UsageError, match="too much"):
        asyncio.run(fine_tune(Counting(), data, ctx, before=refuse))
    assert told == [Price(0.0, None, "nothing")]
    assert not (ctx.folder / "calls").exists()
    asyncio.run(fine_tune(Counting(epochs=2), data, ctx))  # nothing holds the folder


def test_what_has_begun_is_not_priced(tmp_path: Path, ctx: TrainingContext) -> None:
    """Whoever agreed once is not asked again when the training goes on."""
    data = TrainingData(write(tmp_path / "train.jsonl", ROW))
    told: list[Price] = []
    asyncio.run(fine_tune(Counting(), data, ctx, before=told.append))
    (ctx.folder / "trained.json").unlink()
    asyncio.run(fine_tune(Counting(), data, ctx, before=told.append))
    assert told == [Price(0.0, None, "nothing")]


@pytest.mark.parametrize("epochs", [1, 2])
def test_another_command_in_the_meantime(tmp_path: Path, ctx: TrainingContext, epochs: int) -> None:
    """What took the folder while the files were read is gone on from, or refuses this training."""

    class Slow(Counting):
        def preflight(self, data: TrainingData, ctx: TrainingContext) -> tuple[Finding, ...]:
            in_own_loop(fine_tune(Counting(epochs=epochs), data, ctx))
            return ()

    data = TrainingData(write(tmp_path / "train.jsonl", ROW))
    if epochs == 1:
        done = asyncio.run(fine_tune(Slow(), data, ctx))
        assert done == read_trained(ctx.folder)
    else:
        with pytest.raises(RunMismatchError, match="other settings"):
            asyncio.run(fine_tune(Slow(), data, ctx))
    assert (ctx.folder / "calls").read_text() == "train\n"


def test_files_are_settled_once_the_folder_is_taken(tmp_path: Path, ctx: TrainingContext) -> None:
    """They are not touched for a training that is refused, or over."""
    data = TrainingData(write(tmp_path / "train.jsonl", ROW))
    settled: list[TrainingData] = []

    def settle(data: TrainingData) -> TrainingData:
        settled.append(data)
        return data

    asyncio.run(fine_tune(Counting(), data, ctx, settled=settle))
    asyncio.run(fine_tune(Counting(), data, ctx, settled=settle))
    with pytest.raises(RunMismatchError):
        asyncio.run(fine_tune(Counting(epochs=2), data, ctx, settled=settle))
    assert settled == [data]


@pytest.mark.parametrize("text", ["[]", "{", '{"trainer": "counting"}', "{}"])
def test_a_damaged_claim(tmp_path: Path, ctx: TrainingContext, text: str) -> None:
    """The file is named, whatever stands in it."""
    (ctx.folder / "training.json").write_text(text)
    data = TrainingData(write(tmp_path / "train.jsonl", ROW))
    with pytest.raises(DamagedRunError, match=r"training\.json: is not as it was written"):
        asyncio.run(fine_tune(Counting(), data, ctx))


def test_a_model_that_is_gone(tmp_path: Path, ctx: TrainingContext) -> None:
    """A result whose file was deleted is made again."""

    class Writing(Counting):
        async def train(self, data: TrainingData, ctx: TrainingContext) -> Trained:
            done = await super().train(data, ctx)
            path = (ctx.folder / "model.gguf").resolve()
            path.touch()
            model = ModelSettings(model=str(path))
            return done.model_copy(update={"model": model})

    data = TrainingData(write(tmp_path / "train.jsonl", ROW))
    first = asyncio.run(fine_tune(Writing(), data, ctx))
    Path(first.model.model).unlink()
    assert read_trained(ctx.folder) is None
    assert asyncio.run(fine_tune(Writing(), data, ctx)) == first
    assert Path(first.model.model).exists()


def test_no_training_in_a_run_directory(tmp_path: Path, ctx: TrainingContext) -> None:
    """Its files would stand among those of the run."""
    Pipeline(build_config(stages=[])).run(
        str(write(tmp_path / "train.jsonl", ROW)), out=tmp_path / "run"
    )
    data = TrainingData(tmp_path / "train.jsonl")
    with pytest.raises(UsageError, match="is a run directory"):
        asyncio.run(fine_tune(Counting(), data, replace(ctx, folder=tmp_path / "run")))
