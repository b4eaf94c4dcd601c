"""What a search varies: ranges, lists, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from clear_pipeline.errors import ConfigError, UsageError
from clear_pipeline.finetune import TRAINERS, SearchableTrainer, Trainer
from clear_pipeline.finetune.lora import Lora
from clear_pipeline.finetune.openai_jobs import OpenAIJobs
from clear_pipeline.finetune.search import Axis, read_search
from clear_pipeline.finetune.search.sampler import grid
from clear_pipeline.finetune.search.settings import trials_of
from clear_pipeline.finetune.search.space import Range
from clear_pipeline.llm.settings import ModelSettings


def written(folder: Path, text: str) -> str:
    path = folder / "search.yaml"
    path.write_text(text)
    return str(path)


def test_points_of_a_range() -> None:
    """Evenly spaced, or by equal ratios; of whole numbers each once."""
    assert Range(low=1e-5, high=1e-3, log=True).spaced(3, whole=False) == (1e-5, 1e-4, 1e-3)
    assert Range(low=4, high=64, log=True).spaced(5, whole=True) == (4, 8, 16, 32, 64)
    assert Range(low=0, high=1).spaced(5, whole=False) == (0, 0.25, 0.5, 0.75, 1)
    assert Range(low=1, high=2).spaced(3, whole=True) == (1, 2)


def test_a_file(tmp_path: Path) -> None:
    """Values are those of the settings: YAML reads 1e-4 as a text, and it is a number here."""
    text = """
    method: bayes
    trials: 7
    space:
      learning_rate: {low: 1e-5, high: 1e-3, log: true}
      weight_decay: [0, 1e-2]
      rank: {low: 4, high: 64, log: true, points: 3}
      epochs: {low: 1, high: 5}
    """
    settings, axes = read_search(written(tmp_path, text), Lora())
    assert trials_of(settings, axes) == 7
    rate, decay, rank, epochs = axes
    assert rate == Axis("learning_rate", range=Range(low=1e-5, high=1e-3, log=True))
    assert decay == Axis("weight_decay", (0.0, 0.01))
    assert rank == Axis("rank", (4, 16, 64))
    assert (epochs.range, epochs.whole) == (Range(low=1, high=5), True)
    assert trials_of(read_search(written(tmp_path, text), Lora(), trials=3)[0], axes) == 3


def test_a_grid(tmp_path: Path) -> None:
    """All combinations, each once; a range has three values unless it is told."""
    text = "{method: grid, space: {epochs: {low: 1, high: 5}, rank: [8, 16]}}"
    settings, axes = read_search(written(tmp_path, text), Lora())
    assert trials_of(settings, axes) == 6
    points = grid(axes, seed=0)
    expected = [{"epochs": e, "rank": r} for e in (1, 3, 5) for r in (8, 16)]
    assert sorted(map(repr, points)) == sorted(map(repr, expected))
    assert points != expected
    assert points == grid(axes, seed=0)


def test_the_space_of_the_trainer() -> None:
    """Without a file, the peak rate within a factor of ten, batches, epochs, and rank if any."""
    settings, axes = read_search("bayes", Lora())
    assert [axis.name for axis in axes] == ["learning_rate", "batch_size", "rank", "epochs"]
    assert axes[0].range == Range(low=2e-5, high=2e-3, log=True)
    assert trials_of(settings, axes) == 20
    whole, axes = read_search("grid", Lora(method="full"))
    assert [axis.name for axis in axes] == ["learning_rate", "batch_size", "epochs"]
    assert trials_of(whole, axes) == 27


@pytest.mark.parametrize(
    ("space", "said"),
    [
        ("{ranks: [8]}", "space.ranks: lora has no such setting; did you mean 'rank'\\? It has me"),
        ("{frobs: [8]}", "space.frobs: lora has no such setting; It has method, rank"),
        ("{rank: {low: 64, high: 4}}", "space.rank: low is 64 and high is 4: low must be lower"),
        ("{learning_rate: {low: 0, high: 1, log: true}}", "a logarithmic range begins above 0"),
        ("{rank: {low: 0, high: 4}}", "space.rank: Input should be greater than or equal to 1"),
        ("{rank: [8, many]}", "space.rank: .*valid integer.*found 'many'"),
        ("{rank: {low: 1.5, high: 4}}", "space.rank: .*valid integer"),
        ("{rank: {low: 1}}", "space.rank.high: Field required"),
        ("{rank: []}", "space.rank: expected a list of values, or {low: ..., high: ...}"),
        ("{rank: 8}", "space.rank: expected a list of values"),
        ("{max_tokens: [64, 128]}", "max_tokens: cannot be searched: it decides which rows"),
    ],
)
def test_a_wrong_space(tmp_path: Path, space: str, said: str) -> None:
    """The error names the place in the file, the setting and what it may be."""
    with pytest.raises(ConfigError, match=said) as error:
        read_search(written(tmp_path, f"space: {space}"), Lora())
    assert str(error.value).startswith(str(tmp_path / "search.yaml"))


def test_a_wrong_file(tmp_path: Path) -> None:
    """Unknown keys are told with what was meant; what is no file, with what it may be."""
    with pytest.raises(ConfigError, match="did you mean 'trials'"):
        read_search(written(tmp_path, "trails: 4"), Lora())
    with pytest.raises(UsageError, match="--search random: expected bayes, grid or a YAML file"):
        read_search("random", Lora())


def test_a_trainer_that_is_paid() -> None:
    """It is refused, with the reason, before anything is read."""
    trainer = OpenAIJobs(base=ModelSettings(model="m"))
    with pytest.raises(UsageError, match="trainings of openai-jobs are paid for, and each trial"):
        read_search("bayes", trainer)


def test_what_an_axis_holds() -> None:
    """Ends belong to a range; a twentieth of it, by its own scale, counts as its edge."""
    rate = Axis("rate", range=Range(low=1e-4, high=1, log=True))
    assert [rate.holds(v) for v in (1e-4, 1, 2, None, "x")] == [True, True, False, False, False]
    # 0.05 of four decades are 0.2: 1e-4 to 1.58e-4
    assert [rate.at_edge(v) for v in (1.5e-4, 1.7e-4, 0.5, 0.7)] == [True, False, False, True]
    sizes = Axis("batch_size", (4, 8, 16))
    assert [sizes.at_edge(v) for v in (4, 8, 16)] == [True, False, True]
    assert not Axis("schedule", ("cosine", "linear")).at_edge("linear")
    assert not Axis("rank", (8,)).at_edge(8)


@pytest.mark.parametrize("kind", TRAINERS.values(), ids=lambda kind: kind.name)
def test_contract_of_searchable_trainers(kind: type[Trainer]) -> None:
    """What cannot be searched are settings of the trainer; its own space can be, and has none."""
    trainer = kind()
    if not isinstance(trainer, SearchableTrainer):
        return
    assert set(trainer.unsearchable) <= set(trainer.in_effect())
    for method in ("bayes", "grid"):
        _, axes = read_search(method, trainer)
        assert all(axis.holds(trainer.in_effect()[axis.name]) for axis in axes[1:])


@pytest.mark.parametrize("values", ["{low: 1e-5, high: .inf, log: true}", "[1e-4, .inf]"])
def test_only_finite_numbers_are_searched(tmp_path: Path, values: str) -> None:
    """An end or a value that is none is refused before a trial, and the message says where."""
    with pytest.raises(ConfigError, match=r"learning_rate.*finite number"):
        read_search(written(tmp_path, f"space: {{learning_rate: {values}}}"), Lora())
