"""Rows that overlap with benchmarks: n-grams of words, looked up in bulk, verified word by word."""

from clear_pipeline.stages.decontaminate.stage import Decontaminate

__all__ = ["Decontaminate"]
