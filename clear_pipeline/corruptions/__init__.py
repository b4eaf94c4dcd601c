"""Ways in which a response goes bad, planted on purpose to see whether a model notices."""

from clear_pipeline.corruptions.base import Change, Corruption, Sample, plant
from clear_pipeline.corruptions.registry import CORRUPTIONS

__all__ = ["CORRUPTIONS", "Change", "Corruption", "Sample", "plant"]
