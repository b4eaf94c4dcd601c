"""The trainers by name. A new one is a file beside this one and a line here."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from clear_pipeline.finetune.base import Trainer
from clear_pipeline.finetune.openai_jobs import OpenAIJobs

_ALL: tuple[type[Trainer], ...] = (OpenAIJobs,)

TRAINERS: Final[Mapping[str, type[Trainer]]] = MappingProxyType({t.name: t for t in _ALL})
"""In the order in which they are shown."""
