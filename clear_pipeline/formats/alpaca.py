"""Alpaca: `instruction`, `input` (may be empty or absent), `output`."""

from __future__ import annotations

from clear_pipeline.formats.pair import Pair

ALPACA = Pair(
    name="alpaca",
    terms=("instruction", "output", "input"),
    prompts=("instruction",),
    instructions=frozenset({"instruction"}),
    contexts=("input",),
    responses=("output",),
    blank=("input",),
)
