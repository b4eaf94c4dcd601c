"""What a search varies, and how: the file that `--search` takes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_args

from pydantic import Field, JsonValue, ValidationError

from clear_pipeline.config_errors import explained
from clear_pipeline.errors import ConfigError, UsageError
from clear_pipeline.finetune.base import SearchableTrainer, Trainer
from clear_pipeline.finetune.search.space import Axis, axis_of
from clear_pipeline.settings import Settings
from clear_pipeline.yaml_source import YamlSource, read_yaml

Method = Literal["bayes", "grid"]
METHODS: Final[tuple[str, ...]] = get_args(Method)
TRIALS: Final = 20
"""Of a Bayesian search, unless it is told."""


class SearchSettings(Settings):
    """How the settings of a training are searched for."""

    method: Method = "bayes"
    """`bayes`: each trial where the earlier ones promise most, by a tree-structured Parzen
    estimator (Bergstra et al. 2011). `grid`: all combinations, in random order."""
    trials: Annotated[int, Field(ge=1)] | None = None
    """At most so many; None = 20, or the whole grid."""
    folds: Annotated[int, Field(ge=1)] | None = None
    """Parts into which the training rows are cut, each of which is measured on once; 1 = the
    validation rows are measured on, and every trial is one training. None = by the rows."""
    seed: int = 0
    """Of the parts, and of where the search looks."""
    space: dict[str, JsonValue] = Field(default_factory=dict)
    """By name of a setting, a list of values, or a range; empty = as the trainer has it."""


def read_search(
    given: str, trainer: Trainer, *, trials: int | None = None
) -> tuple[SearchSettings, tuple[Axis, ...]]:
    """The search and what it varies.

    Args:
        given: `bayes`, `grid` or the path of a YAML file.
        trainer: Whose settings are searched.
        trials: In place of those of the file.

    Raises:
        UsageError: The trainer cannot be searched.
        ConfigError: The file is wrong, or names what is no setting of the trainer.
    """
    if not isinstance(trainer, SearchableTrainer):
        raise UsageError(
            f"--search: the trainings of {trainer.name} are paid for, and each trial would be one; "
            "search with a trainer of this machine (--trainer lora), or start single trainings"
        )
    if given in METHODS:
        source = YamlSource(Path("--search"), {"method": given}, None)
    else:
        if not Path(given).exists():
            raise UsageError(f"--search {given}: expected {', '.join(METHODS)} or a YAML file")
        source = read_yaml(Path(given))
    data: dict[str, Any] = dict(source.data)
    if trials is not None:
        data["trials"] = trials
    try:
        settings = SearchSettings.model_validate(data)
    except ValidationError as error:
        known = {"": tuple(SearchSettings.model_fields)}
        raise ConfigError(explained(error, source, kinds=(), known=known)) from None
    space: Mapping[str, Any] = settings.space or trainer.space()
    axes = tuple(
        axis_of(name, value, trainer, gridded=settings.method == "grid", place=_place(source, name))
        for name, value in space.items()
    )
    return settings, axes


def _place(source: YamlSource, name: str) -> str:
    return f"{source.place(('space', name))}: space.{name}"


def trials_of(settings: SearchSettings, axes: tuple[Axis, ...]) -> int:
    """How many trials there will be."""
    if settings.method == "bayes":
        return settings.trials or TRIALS
    whole = 1
    for axis in axes:
        whole *= len(axis.values)
    return min(whole, settings.trials or whole)
