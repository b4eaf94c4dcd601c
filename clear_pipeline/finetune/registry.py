"""The trainers by name. A new one is a file beside this one and a line here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from pydantic import ValidationError

from clear_pipeline.config_errors import explained
from clear_pipeline.config_values import assign
from clear_pipeline.errors import ConfigError, UsageError
from clear_pipeline.finetune.base import Trainer
from clear_pipeline.finetune.lora import Lora
from clear_pipeline.finetune.openai_jobs import OpenAIJobs
from clear_pipeline.settings import Settings
from clear_pipeline.yaml_source import YamlSource

_ALL: tuple[type[Trainer], ...] = (Lora, OpenAIJobs)

TRAINERS: Final[Mapping[str, type[Trainer]]] = MappingProxyType({t.name: t for t in _ALL})
"""In the order in which they are shown."""


def trainer_named(name: str, assignments: Sequence[str] = ()) -> Trainer:
    """A trainer with its settings from the command line.

    Args:
        name: One of `TRAINERS`.
        assignments: `setting=value`, the value in YAML.

    Raises:
        UsageError: There is no such trainer.
        ConfigError: A setting is unknown or out of range.
    """
    if name not in TRAINERS:
        raise UsageError(f"no trainer {name!r}; there are {', '.join(TRAINERS)}")
    kind = TRAINERS[name]
    data: dict[str, Any] = {}
    for assignment in assignments:
        assign(data, assignment)
    assert issubclass(kind, Settings)  # noqa: S101  # as every trainer is
    try:
        made = kind.model_validate(data)
    except ValidationError as error:
        source = YamlSource(Path("command line"), {}, None)
        known = {"": tuple(kind.model_fields)}
        raise ConfigError(explained(error, source, kinds=(), known=known)) from None
    assert isinstance(made, Trainer)  # noqa: S101
    return made
