"""The corruptions by name. A new one is a file beside this one and a line here."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from clear_pipeline.corruptions.base import Corruption
from clear_pipeline.corruptions.changed_entity import CHANGED_ENTITY
from clear_pipeline.corruptions.changed_number import CHANGED_NUMBER
from clear_pipeline.corruptions.cut_off import CUT_OFF
from clear_pipeline.corruptions.malformed_json import MALFORMED_JSON
from clear_pipeline.corruptions.other_row import OTHER_ROW
from clear_pipeline.corruptions.prompt_sentence import PROMPT_SENTENCE
from clear_pipeline.corruptions.refusal import REFUSAL
from clear_pipeline.corruptions.repetition_loop import REPETITION_LOOP
from clear_pipeline.corruptions.similar_row import SIMILAR_ROW
from clear_pipeline.corruptions.wrong_language import WRONG_LANGUAGE

_ALL = (
    OTHER_ROW,
    SIMILAR_ROW,
    PROMPT_SENTENCE,
    CHANGED_NUMBER,
    CHANGED_ENTITY,
    CUT_OFF,
    REPETITION_LOOP,
    REFUSAL,
    WRONG_LANGUAGE,
    MALFORMED_JSON,
)
CORRUPTIONS: Final[Mapping[str, Corruption]] = MappingProxyType({c.name: c for c in _ALL})
"""In the order in which they are shown."""
