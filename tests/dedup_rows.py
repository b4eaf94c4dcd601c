"""Rows and whole runs of the dedup stage for its tests."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from clear_pipeline.schema import Example, Message, rows_table
from clear_pipeline.stages.base import Context, Shard, SilentProgress
from clear_pipeline.stages.dedup import Dedup
from clear_pipeline.stages.held import surveyed


def row(prompt: str, response: str, *, line: int = 1, file: str = "a.jsonl") -> Example:
    return Example(
        id=f"{file}:{line}",
        file=file,
        line=line,
        format="openai",
        messages=(Message("user", prompt),),
        target=Message("assistant", response),
        original="{}",
    )


def rows(pairs: Sequence[tuple[str, str]], *, file: str = "a.jsonl") -> list[Example]:
    """One row per (prompt, response), with ids `a.jsonl:1`, `a.jsonl:2`, ..."""
    return [row(p, r, line=i + 1, file=file) for i, (p, r) in enumerate(pairs)]


def dedup(
    examples: Sequence[Example],
    stage: Dedup | None = None,
    *,
    cuts: Sequence[int] = (),
    progress: SilentProgress | None = None,
) -> list[dict[str, Any]]:
    """The stage's columns for all rows, which are cut into shards before the given positions."""
    stage = stage or Dedup()
    ctx = Context(progress=progress or SilentProgress())
    bounds = [0, *sorted(cuts), len(examples)]
    shards = [Shard(str(start), rows_table(examples[start:end])) for start, end in pairwise(bounds)]
    states = surveyed(stage, [(s, [True] * s.rows) for s in shards], ctx)
    found: list[dict[str, Any]] = []
    for shard, state in zip(shards, states, strict=True):
        table = asyncio.run(stage.annotate(shard, [True] * shard.rows, state, ctx))
        assert table.schema == stage.adds()
        found += table.to_pylist()
    return found


def partition(examples: Sequence[Example], found: Sequence[dict[str, Any]]) -> set[frozenset[str]]:
    """Clusters as sets of row ids."""
    clusters: dict[str, set[str]] = {}
    for example, columns in zip(examples, found, strict=True):
        if columns["cluster"] is not None:
            clusters.setdefault(columns["cluster"], set()).add(example.id)
    return {frozenset(members) for members in clusters.values()}
