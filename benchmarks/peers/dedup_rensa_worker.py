"""Duplicates by rensa: `RMinHash` and `RMinHashLSH`, each row asked, then entered if it stays."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
from rensa import RMinHash, RMinHashLSH

from benchmarks.peers import dedup_worker as worker

BANDS = 16
"""It wants a number: 8 rows each, which find a pair at 0.8 with probability 0.95."""


def find(data: Path, _: Path) -> Iterator[int]:
    """The first row that it matches, of those that stay."""
    index = RMinHashLSH(worker.THRESHOLD, worker.PERMUTATIONS, BANDS)
    row = 0
    for block in worker.blocks(data):
        for minhash in RMinHash.from_token_sets(block, num_perm=worker.PERMUTATIONS, seed=42):
            if found := index.query(minhash):
                yield min(found)
            else:
                index.insert(row, minhash)
                yield row
            row += 1


if __name__ == "__main__":
    worker.serve(find, "rensa")
