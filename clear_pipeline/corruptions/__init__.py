"""Ways in which a response goes bad, planted on purpose to see whether a model notices."""

from clear_pipeline.corruptions.base import Change, Corruption, plant
from clear_pipeline.corruptions.registry import CORRUPTIONS
from clear_pipeline.corruptions.sample import Sample

__all__ = ["CORRUPTIONS", "Change", "Corruption", "Sample", "plant"]
