"""Exact and near-duplicates."""

from clear_pipeline.stages.dedup.stage import Dedup

__all__ = ["Dedup"]
