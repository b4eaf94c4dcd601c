"""The trainers by name. A new one is a file beside this one and a line here."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from clear_pipeline.config_errors import explained
from clear_pipeline.config_values import assign
from clear_pipeline.errors import ConfigError, UsageError
from clear_pipeline.finetune.balance import Balance
from clear_pipeline.finetune.base import Trainer
from clear_pipeline.finetune.lora import Lora
from clear_pipeline.finetune.openai_jobs import OpenAIJobs
from clear_pipeline.settings import Settings
from clear_pipeline.yaml_source import COMMAND_LINE, YamlSource, read_yaml

S = TypeVar("S", bound=Settings)

_ALL: tuple[type[Trainer], ...] = (Lora, OpenAIJobs)

TRAINERS: Final[Mapping[str, type[Trainer]]] = MappingProxyType({t.name: t for t in _ALL})
"""In the order in which they are shown."""

DEFAULT_TRAINER: Final = Lora.name
"""Trains where nobody says who."""


def trainer_named(
    name: str | None,
    assignments: Sequence[str] = (),
    *,
    file: Path | YamlSource | None = None,
    beside: Collection[str] = (),
) -> Trainer:
    """A trainer with its settings: defaults, then the file, then the command line.

    Args:
        name: One of `TRAINERS`; None = the `kind` in the file, else `DEFAULT_TRAINER`.
        assignments: `setting=value`, the value in YAML.
        file: Settings as YAML; or what was read of them.
        beside: Keys that are not the trainer's but may stand there, such as those of `Balance`.

    Raises:
        UsageError: There is no such trainer, or the file is another one's.
        ConfigError: A setting is unknown or out of range.
    """
    data, source = _given(assignments, file)
    given = source.data.get("kind")
    name = name or str(given or DEFAULT_TRAINER)
    if name not in TRAINERS:
        raise UsageError(f"no trainer {name!r}; there are {', '.join(TRAINERS)}")
    if given not in (None, name):
        raise UsageError(f"--trainer {name}, but {source.path} has settings of {given}")
    kind = TRAINERS[name]
    assert issubclass(kind, Settings)  # noqa: S101  # as every trainer is
    own = {key: value for key, value in data.items() if key not in beside}
    made = _made(kind, own, source, beside=beside)
    assert isinstance(made, Trainer)  # noqa: S101
    return made


def balance_named(
    assignments: Sequence[str] = (),
    *,
    file: Path | YamlSource | None = None,
    mix: Sequence[str] = (),
    share: float | None = None,
    general: str | None = None,
) -> Balance:
    """What general rows a training has: defaults, then the file, then the command line.

    Args:
        assignments: As of `trainer_named`; those of the trainer are passed over.
        file: As of `trainer_named`; those of the trainer are passed over.
        mix: Sources that stand in place of the file's.
        share: Stands in place of the file's.
        general: Stands in place of the file's.

    Raises:
        UsageError: There is a share of nothing.
        ConfigError: A setting is unknown or out of range.
    """
    given, source = _given(assignments, file)
    data = {key: value for key, value in given.items() if key in Balance.model_fields}
    mixed = data.get("mix")
    if mix or share is not None:
        mixed = {**(mixed if isinstance(mixed, dict) else {})}
        mixed |= {"data": list(mix)} if mix else {}
        mixed |= {} if share is None else {"share": share}
        data["mix"] = mixed
    if isinstance(mixed, dict) and "data" not in mixed:
        raise UsageError("a share of general rows needs rows to draw from: --mix FILE")
    if general is not None:
        data["general"] = general
    return _made(Balance, data, source)


def _given(
    assignments: Sequence[str], file: Path | YamlSource | None
) -> tuple[dict[str, Any], YamlSource]:
    """All settings as plain data, and where those of the file stand."""
    source = read_yaml(file) if isinstance(file, Path) else file or COMMAND_LINE
    data = deepcopy(source.data)
    for assignment in assignments:
        assign(data, assignment)
    return data, source


def _made(
    kind: type[S],
    data: Mapping[str, Any],
    source: YamlSource,
    *,
    beside: Collection[str] = (),
) -> S:
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        known = _keys(kind)
        known[""] += tuple(beside)
        raise ConfigError(explained(error, source, kinds=(), known=known)) from None


def _keys(kind: type[BaseModel], place: str = "") -> dict[str, tuple[str, ...]]:
    """The keys of settings, and those of the settings within them, by their place."""
    known = {place: tuple(kind.model_fields)}
    for name, field in kind.model_fields.items():
        for inner in (field.annotation, *get_args(field.annotation)):
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                known |= _keys(inner, f"{place}.{name}" if place else name)
    return known
