"""Duplicates by plain datasketch: `MinHash.bulk` and `MinHashLSH`, each row asked, then entered.

    dedup_datasketch_worker.py DATA OUT SCRATCH first
    dedup_datasketch_worker.py DATA OUT SCRATCH all

`first`: a row with a match is left out and not entered, its first match stays. `all`: every row is
entered and every match counts, so that a cluster is what pairs connect; quadratic in equal rows.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
from datasketch import MinHash, MinHashLSH

from benchmarks.peers import dedup_worker as worker


def signed(data: Path) -> Iterator[MinHash]:
    """A signature per row."""
    for block in worker.blocks(data):
        encoded = [[shingle.encode() for shingle in row] for row in block]
        yield from MinHash.bulk(encoded, num_perm=worker.PERMUTATIONS, scheme="affine32")


def first(data: Path, _: Path) -> Iterator[int]:
    """The first row that it matches, of those that stay."""
    index = MinHashLSH(threshold=worker.THRESHOLD, num_perm=worker.PERMUTATIONS)
    for row, minhash in enumerate(signed(data)):
        if found := index.query(minhash):
            yield min(found)
        else:
            index.insert(row, minhash, check_duplication=False)
            yield row


def every(data: Path, _: Path) -> list[int]:
    """The first row of those that it is connected with."""
    index = MinHashLSH(threshold=worker.THRESHOLD, num_perm=worker.PERMUTATIONS)
    parent: list[int] = []

    def root(row: int) -> int:
        while parent[row] != row:
            parent[row] = row = parent[parent[row]]
        return row

    for row, minhash in enumerate(signed(data)):
        parent.append(row)
        for other in index.query(minhash):
            one, two = root(row), root(other)
            parent[max(one, two)] = min(one, two)
        index.insert(row, minhash, check_duplication=False)
    return [root(row) for row in range(len(parent))]


if __name__ == "__main__":
    worker.serve({"first": first, "all": every}[sys.argv[4]], "datasketch")
