"""The order of a training: whose a folder is, what is agreed to, and what is done once."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from clear_pipeline.config import build_config
from clear_pipeline.errors import (
    DamagedRunError,
    RunMismatchError,
    UsageError,
)
from clear_pipeline.finetune import (
    Finding,
    Price,
    Trained,
    TrainingContext,
    TrainingData,
    fine_tune,
    read_trained,
)
from clear_pipeline.llm.settings import ModelSettings
from clear_pipeline.own_loop import in_own_loop
from clear_pipeline.pipeline import Pipeline
from clear_pipeline.stages.base import SilentProgress
from counting_trainer import ROW, Counting, write


@pytest.fixture
def ctx(tmp_path: Path) -> TrainingContext:
    folder = tmp_path / "out"
    folder.mkdir()
    return TrainingContext(folder, SilentProgress())


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
    with pytest.raises(RunMismatchError, match=r"other settings\.epochs; give another"):
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
