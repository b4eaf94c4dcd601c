"""The files of `benchmarks/dedup.py`: near-duplicates made to order, one text of plain words a row.

A text is brought to words of a-z and 0-9 with one space between them before any system sees it. So
all systems, which cut texts in different ways, see the same words, and the truth is the same for
all. What is compared is the response; every row has a prompt of its own.
"""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.peers.dedup_worker import COLUMN, texts
from clear_pipeline.errors import UsageError

I64 = NDArray[np.int64]

SUBSET_ROWS: Final = 10_000
"""So many rows are compared with each other to know what there is to find."""
SUBSET_OF_ONE: Final = 50
"""And at most so many of one planted cluster: else equal rows are all that counts."""

_GENERATOR: Final = Path("tools", "make_near_duplicates.py")
_WORD: Final = re.compile("[a-z0-9]+")


@dataclass(frozen=True, slots=True)
class Order:
    """One file: so many rows, `giant` of them equal, drawn from `seed`."""

    rows: int
    giant: int
    seed: int = 0

    @property
    def name(self) -> str:
        """Of the file, without suffix."""
        return f"{self.rows}-rows-{self.giant}-equal-seed-{self.seed}"


@dataclass(frozen=True, slots=True)
class DataFile:
    """A prepared file.

    Attributes:
        path: The rows, JSON Lines.
        clusters: Per row the number of the text that it was made from.
    """

    path: Path
    clusters: I64

    def texts(self) -> list[str]:
        """One per row."""
        return list(texts(self.path))

    def subset(self, rows: int = SUBSET_ROWS) -> I64:
        """Rows of whole planted clusters, drawn by chance, ascending; about `rows` of them.

        Pairs of one cluster are what may be similar. Of rows drawn one by one most would have lost
        their partner.
        """
        order = np.argsort(self.clusters, kind="stable")
        starts = np.flatnonzero(np.diff(self.clusters[order], prepend=np.iinfo(np.int64).min))
        planted = np.split(order, starts[1:])
        drawn = random.Random(0)
        drawn.shuffle(planted)
        taken: list[int] = []
        for members in planted:
            if len(taken) >= rows:
                break
            few = members.tolist()
            taken += drawn.sample(few, SUBSET_OF_ONE) if len(few) > SUBSET_OF_ONE else few
        return np.sort(np.array(taken, np.int64))


def prepared(order: Order, *, shared: Path, cache: Path) -> DataFile:
    """The file of this order: made once, then found in `cache`.

    Raises:
        UsageError: It is not there, and neither is the generator.
    """
    path = cache / f"{order.name}.jsonl"
    if not (path.exists() and path.with_suffix(".npy").exists()):
        generator = shared / _GENERATOR
        if not generator.is_file():
            raise UsageError(
                f"{generator} is not there: name with --shared the folder that has {_GENERATOR}, "
                f"or put {path.name} and {path.stem}.npy of an earlier run into {cache}"
            )
        cache.mkdir(parents=True, exist_ok=True)
        raw = path.with_suffix(".raw")
        words = [str(order.rows), str(raw), str(order.seed), "--giant", str(order.giant)]
        subprocess.run([sys.executable, str(generator), *words], check=True, stdout=sys.stderr)
        with raw.open(encoding="utf-8") as lines:
            rows = (json.loads(line) for line in lines)
            write(path, ((row["output"], row["cluster"]) for row in rows))
        raw.unlink()
    return DataFile(path, np.load(path.with_suffix(".npy")))


def write(path: Path, rows: Iterable[tuple[str, int]]) -> None:
    """Write texts with the number of their planted cluster, and the numbers beside them as .npy."""
    clusters = []
    partial = path.with_suffix(".partial")
    with partial.open("w", encoding="utf-8") as file:
        for number, (text, cluster) in enumerate(rows):
            words = " ".join(_WORD.findall(text.lower())) or "empty"
            file.write(json.dumps({"prompt": f"Text {number}.", COLUMN: words}) + "\n")
            clusters.append(cluster)
    np.save(path.with_suffix(".npy"), np.array(clusters, np.int64))
    partial.replace(path)
