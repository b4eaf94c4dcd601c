"""Duplicates by datatrove: signatures, buckets and clusters with its local executor.

It works on files side by side, so the rows are dealt out to one file per processor first; that is
not counted.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.dedup.minhash import (
    MinhashConfig,
    MinhashDedupBuckets,
    MinhashDedupCluster,
    MinhashDedupSignature,
)
from datatrove.pipeline.readers import JsonlReader
from datatrove.utils.text import TextNormConfig
from datatrove.utils.word_tokenizers import WordTokenizer

from benchmarks.peers import dedup_worker as worker

BUCKETS = 16
CONFIG = MinhashConfig(
    n_grams=worker.WORDS,
    num_buckets=BUCKETS,
    hashes_per_bucket=worker.PERMUTATIONS // BUCKETS,
    norm_config=TextNormConfig(norm_numbers=False),
)


class Spaces(WordTokenizer):  # type: ignore[misc]  # datatrove is not here when types are checked
    """Words are what stands between spaces."""

    def word_tokenize(self, text: str) -> list[str]:
        """Cut at spaces."""
        return text.split()

    def sent_tokenize(self, text: str) -> list[str]:
        """Not asked for."""
        raise NotImplementedError

    def span_tokenize(self, text: str) -> list[tuple[int, int]]:
        """Not asked for."""
        raise NotImplementedError


def deal(data: Path, folder: Path) -> None:
    """Row k goes to file k modulo the number of files."""
    folder.mkdir()
    with ExitStack() as stack, data.open("rb") as lines:
        files = [
            stack.enter_context((folder / f"{n}.jsonl").open("wb")) for n in range(worker.PROCESSES)
        ]
        for row, line in enumerate(lines):
            files[row % len(files)].write(line)


def find(data: Path, scratch: Path) -> list[int]:
    """The first row of the cluster of each."""
    reader = JsonlReader(str(scratch / "rows"), text_key=worker.COLUMN)
    signatures, pairs, clusters = (str(scratch / name) for name in ("sigs", "pairs", "clusters"))
    steps = [
        (worker.PROCESSES, [reader, MinhashDedupSignature(signatures, CONFIG, Spaces())]),
        (BUCKETS, [MinhashDedupBuckets(signatures, pairs, config=CONFIG)]),
        (1, [MinhashDedupCluster(pairs, clusters, config=CONFIG, save_cluster_id=True)]),
    ]
    for number, (tasks, pipeline) in enumerate(steps):
        LocalPipelineExecutor(
            pipeline,
            tasks=tasks,
            workers=min(tasks, worker.PROCESSES),
            logging_dir=str(scratch / f"log{number}"),
        ).run()
    rows = sum(1 for _ in worker.texts(data))
    kept = list(range(rows))
    stays: dict[int, int] = {}
    for row, cluster in sorted(members(scratch / "clusters")):
        kept[row] = stays.setdefault(cluster, row)
    return kept


def members(folder: Path) -> Iterator[tuple[int, int]]:
    """Rows and their clusters."""
    for path in folder.glob("*.clusters"):
        file = int(path.stem)
        for place, cluster in struct.iter_unpack("<II", path.read_bytes()):
            yield place * worker.PROCESSES + file, cluster


if __name__ == "__main__":
    deal(Path(sys.argv[1]), Path(sys.argv[3]) / "rows")
    worker.serve(find, "datatrove")
