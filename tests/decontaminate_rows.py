"""Whole runs of the decontaminate stage on rows in memory, against benchmarks in a directory."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from clear_pipeline.schema import Example, rows_table
from clear_pipeline.stages.base import Context, Shard, SilentProgress
from clear_pipeline.stages.decontaminate import Decontaminate
from clear_pipeline.stages.held import surveyed


def benchmark(folder: Path, rows: Sequence[dict[str, Any]], name: str = "test.jsonl") -> Path:
    """A JSONL file of benchmark rows."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def questions(folder: Path, *texts: str) -> Path:
    """A benchmark whose rows have one column."""
    return benchmark(folder, [{"task": text} for text in texts])


def stage(*against: Path, **settings: Any) -> Decontaminate:  # noqa: ANN401
    return Decontaminate.model_validate({"against": [str(path) for path in against], **settings})


def decontaminate(
    examples: Sequence[Example],
    given: Decontaminate,
    *,
    cuts: Sequence[int] = (),
    alive: Sequence[bool] | None = None,
    progress: SilentProgress | None = None,
) -> list[dict[str, Any]]:
    """The stage's columns for all rows, which are cut into shards before the given positions."""
    ctx = Context(progress=progress or SilentProgress())
    lives = alive or [True] * len(examples)
    bounds = [0, *sorted(cuts), len(examples)]
    shards = [
        (Shard(str(start), rows_table(examples[start:end])), lives[start:end])
        for start, end in pairwise(bounds)
    ]
    found: list[dict[str, Any]] = []
    states = surveyed(given, shards, ctx)
    for (shard, flags), state in zip(shards, states, strict=True):
        table = asyncio.run(given.annotate(shard, flags, state, ctx))
        assert table.schema == given.adds()
        found += table.to_pylist()
    return found
