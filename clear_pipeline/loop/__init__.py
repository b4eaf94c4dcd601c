"""Rounds of CLEAR: score, filter, train, write candidates, judge, train on the curated set."""

from clear_pipeline.loop.loop import Loop
from clear_pipeline.loop.record import LoopRecord, Reference, RoundRecord, read_loop
from clear_pipeline.loop.settings import LoopConfig, LoopSettings, build_loop

__all__ = [
    "Loop",
    "LoopConfig",
    "LoopRecord",
    "LoopSettings",
    "Reference",
    "RoundRecord",
    "build_loop",
    "read_loop",
]
