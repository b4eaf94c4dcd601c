"""Duplicates by text-dedup: its command `text_dedup.minhash`, which also writes what stays."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
os.environ |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
from text_dedup import minhash

from benchmarks.peers import dedup_worker as worker


def find(data: Path, scratch: Path) -> list[int]:
    """The row that stands for the cluster of each."""
    options = {
        "path": "json",
        "data_files": data,
        "split": "train",
        "cache_dir": scratch / "cache",
        "output": scratch / "out",
        "column": worker.COLUMN,
        "num_perm": worker.PERMUTATIONS,
        "ngram": worker.WORDS,
        "min_length": 1,
        "threshold": worker.THRESHOLD,
        "num_proc": worker.PROCESSES,
    }
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    minhash.main(words, standalone_mode=False)
    rows = sum(1 for _ in worker.texts(data))
    return [minhash.uf.find(row) for row in range(rows)]


if __name__ == "__main__":
    worker.serve(find, "text-dedup")
