"""How the benchmarks of dedup call this package, and nothing else.

As a program it is a worker, see `benchmarks.peers.dedup_worker`: a run of the stage alone, by
`Pipeline.run`, so that it takes what a user's run takes, with run directory, ledger and report.

    python -m benchmarks.dedup_ours DATA OUT SCRATCH
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.peers import dedup_worker as worker
from clear_pipeline import Pipeline, build_config
from clear_pipeline.load import LoadedShard, LoadSettings, discover
from clear_pipeline.run_log import LOG
from clear_pipeline.stages.base import Context, Shard, SilentProgress
from clear_pipeline.stages.dedup import Dedup
from clear_pipeline.stages.held import surveyed
from clear_pipeline.store import LEDGER

AS_THE_OTHERS: Final = {
    "compare": "response",
    "threshold": worker.THRESHOLD,
    "ngram": worker.WORDS,
    "permutations": worker.PERMUTATIONS,
    "common_shingle_fraction": 1.0,
}
"""Settings under which the stage means by similarity what its peers do: that of one text, of which
no shingle is left out."""


def load(path: Path) -> list[Shard]:
    """All rows of a file or directory."""
    events = (e for f in discover(path).inputs for e in f.load(LoadSettings()))
    return [Shard(e.key, e.table) for e in events if isinstance(e, LoadedShard)]


def columns(shards: Sequence[Shard], stage: Dedup) -> Iterator[pa.Table]:
    """The columns of the stage on rows that are held in memory, shard by shard."""
    ctx = Context(progress=SilentProgress())
    states = surveyed(stage, [(s, [True] * s.rows) for s in shards], ctx)
    for shard, state in zip(shards, states, strict=True):
        yield asyncio.run(stage.annotate(shard, [True] * shard.rows, state, ctx))


def find(data: Path, scratch: Path) -> list[int]:
    """Per row the row that stays, from the ledger of a run."""
    assignments = [f"dedup.{name}={value}" for name, value in AS_THE_OTHERS.items()]
    config = build_config(stages=["dedup"], assignments=assignments)
    Pipeline(config).run(data, out=scratch / "run")
    ledger = pq.read_table(scratch / "run" / LEDGER, columns=["id", "duplicate_of"])
    ids = pc.cast(ledger["id"], pa.large_string())
    kept = pc.coalesce(pc.cast(ledger["duplicate_of"], pa.large_string()), ids)
    places: list[int] = pc.index_in(kept, ids).to_pylist()
    return places


def parts(scratch: Path) -> dict[str, float]:
    """From the start of the run until the stage is through, and what of it the stage itself takes.

    Its own part goes from rows that lie in the run directory to columns that lie there.
    """
    lines = (scratch / "run" / LOG).read_text(encoding="utf-8").splitlines()
    events = [json.loads(line) for line in lines]
    at = {event["event"]: datetime.fromisoformat(event["time"]) for event in events}
    (alone,) = (event["seconds"] for event in events if event["event"] == "stage")
    return {
        "found_seconds": (at["stage"] - at["started"]).total_seconds(),
        "stage_seconds": alone,
    }


if __name__ == "__main__":
    worker.serve(find, "clear-pipeline", parts)
