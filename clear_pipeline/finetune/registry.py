"""The trainers by name. A new one is a file beside this one and a line here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from types import MappingProxyType
from typing import Final

from pydantic import ValidationError

from clear_pipeline.config_errors import explained
from clear_pipeline.config_values import assign
from clear_pipeline.errors import ConfigError, UsageError
from clear_pipeline.finetune.base import Trainer
from clear_pipeline.finetune.lora import Lora
from clear_pipeline.finetune.openai_jobs import OpenAIJobs
from clear_pipeline.settings import Settings
from clear_pipeline.yaml_source import COMMAND_LINE, YamlSource, read_yaml

_ALL: tuple[type[Trainer], ...] = (Lora, OpenAIJobs)

TRAINERS: Final[Mapping[str, type[Trainer]]] = MappingProxyType({t.name: t for t in _ALL})
"""In the order in which they are shown."""

DEFAULT_TRAINER: Final = Lora.name
"""Trains where nobody says who."""


def trainer_named(
    name: str | None, assignments: Sequence[str] = (), *, file: Path | YamlSource | None = None
) -> Trainer:
    """A trainer with its settings: defaults, then the file, then the command line.

    Args:
        name: One of `TRAINERS`; None = the `kind` in the file, else `DEFAULT_TRAINER`.
        assignments: `setting=value`, the value in YAML.
        file: Settings as YAML; or what was read of them.

    Raises:
        UsageError: There is no such trainer, or the file is another one's.
        ConfigError: A setting is unknown or out of range.
    """
    source = read_yaml(file) if isinstance(file, Path) else file or COMMAND_LINE
    data = deepcopy(source.data)
    given = data.get("kind")
    name = name or str(given or DEFAULT_TRAINER)
    if name not in TRAINERS:
        raise UsageError(f"no trainer {name!r}; there are {', '.join(TRAINERS)}")
    if given not in (None, name):
        raise UsageError(f"--trainer {name}, but {source.path} has settings of {given}")
    kind = TRAINERS[name]
    for assignment in assignments:
        assign(data, assignment)
    assert issubclass(kind, Settings)  # noqa: S101  # as every trainer is
    try:
        made = kind.model_validate(data)
    except ValidationError as error:
        known = {"": tuple(kind.model_fields)}
        raise ConfigError(explained(error, source, kinds=(), known=known)) from None
    assert isinstance(made, Trainer)  # noqa: S101
    return made
