"""A search for the settings of a training: many are tried on a part of the rows, one is chosen."""

from clear_pipeline.finetune.search.report import SearchReport, Trial
from clear_pipeline.finetune.search.settings import SearchSettings, read_search
from clear_pipeline.finetune.search.space import Axis, with_values
from clear_pipeline.finetune.search.work import search

__all__ = [
    "Axis",
    "SearchReport",
    "SearchSettings",
    "Trial",
    "read_search",
    "search",
    "with_values",
]
