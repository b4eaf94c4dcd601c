"""Run the dedup stage on files, print what it removes, and how fast.

Usage: python benchmarks/dedup_rate.py FILE... [--show N]
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import time
from collections import Counter
from pathlib import Path

from clear_pipeline.load import LoadedShard, LoadSettings, discover
from clear_pipeline.schema import examples
from clear_pipeline.stages.base import Context, Shard, SilentProgress
from clear_pipeline.stages.dedup import Dedup
from clear_pipeline.stages.held import HeldShards


def load(path: Path) -> list[Shard]:
    """All rows of a file or directory."""
    events = (e for f in discover(path).inputs for e in f.load(LoadSettings()))
    return [Shard(e.key, e.table) for e in events if isinstance(e, LoadedShard)]


def measure(path: Path, *, show: int) -> None:
    """Print one line of figures, then the first `show` removed rows with their keepers."""
    shards, stage, ctx = load(path), Dedup(), Context(progress=SilentProgress())
    start = time.perf_counter()
    states = stage.survey(HeldShards([(s, [True] * s.rows) for s in shards]), ctx)
    columns = [
        row
        for shard, state in zip(shards, states, strict=True)
        for row in asyncio.run(stage.annotate(shard, [True] * shard.rows, state, ctx)).to_pylist()
    ]
    seconds = time.perf_counter() - start
    kinds = Counter(row["duplicate_kind"] for row in columns if row["duplicate_of"])
    total, removed = len(columns), kinds.total()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(
        f"{path.name}: {removed} of {total} rows ({removed / total:.2%}): {kinds['exact']} exact, "
        f"{kinds['near']} near; {seconds:.1f} s, {total / seconds:,.0f} rows/s, peak {peak} MiB"
    )
    rows = {row.id: row for shard in shards for row in examples(shard.table)} if show else {}
    pairs = zip(rows.values(), columns, strict=True) if show else []
    for row, found in [(r, c) for r, c in pairs if c["duplicate_of"]][:show]:
        print(f"\n{row.id} -> {found['duplicate_of']}, similarity {found['similarity']:.3f}")
        for side in (row, rows[found["duplicate_of"]]):
            print(f"  {side.messages[-1].text[-120:]!r}\n    {side.response[:120]!r}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--show", type=int, default=0)
    arguments = parser.parse_args()
    for file in arguments.files:
        measure(file, show=arguments.show)
