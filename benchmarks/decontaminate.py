"""Compare files with a benchmark: how many rows share how much with it, how fast, what is missed.

Usage: python -m benchmarks.decontaminate FILE... --against BENCHMARK [--words N...] [--show N]

For each file and n-gram length: rows by their largest share of a benchmark text's n-grams. Then
what is found of the benchmark's own first texts when some of their words are replaced by words of
other texts, which is what a near copy looks like to n-grams.
"""

from __future__ import annotations

import argparse
import random
import resource
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.dedup_ours import load
from clear_pipeline.schema import Example, Message, rows_table
from clear_pipeline.stages.base import Shard
from clear_pipeline.stages.decontaminate import Decontaminate

SHARES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8)
EDITS = (0, 1, 2, 3, 5)
"""Words that are replaced in a text."""
SEED = 0


def shares(stage: Decontaminate, shards: Sequence[Shard]) -> NDArray[np.float64]:
    """Per row the largest share, 0 if it shares nothing."""
    found = []
    for shard in shards:
        share = np.zeros(shard.rows)
        columns = stage.search(shard, [True] * shard.rows).columns
        share[columns["rows"]] = columns["contamination"]
        found.append(share)
    return np.concatenate(found)


def edited(texts: Sequence[str], edits: int) -> Shard:
    """A row for each text, as its prompt, with so many words replaced."""
    rng = random.Random(SEED)
    others = [word for text in texts for word in text.split()]
    examples = []
    for number, text in enumerate(texts):
        words = text.split()
        for place in rng.sample(range(len(words)), edits):
            words[place] = rng.choice(others)
        asked = (Message("user", " ".join(words)),)
        answer = Message("assistant", "-")
        examples.append(Example(f"e:{number}", "e", number, "openai", asked, answer, "{}"))
    return Shard("edited", rows_table(examples))


def cells(found: NDArray[np.float64]) -> str:
    """How many reach each of `SHARES`; of the first, how many share anything."""
    return "  ".join(f"{int((found >= max(share, 1e-9)).sum()):6,}" for share in SHARES)


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--against", required=True)
    parser.add_argument("--words", nargs="+", type=int, default=[13])
    parser.add_argument("--show", type=int, default=0)
    given = parser.parse_args()
    for width in given.words:
        stage = Decontaminate(against=(given.against,), ngram_words=width, min_coverage=1e-9)
        start = time.perf_counter()
        index = stage.index
        print(
            f"{given.against}, {width} words: {len(index.ngrams.keys):,} n-grams of "
            f"{len(index.totals):,} texts, read in {time.perf_counter() - start:.1f} s"
        )
        print(f"{'share of at least':>36}  " + "  ".join(f"{share:6.1f}" for share in SHARES))
        for path in given.files:
            shards = load(path)
            start, used = time.perf_counter(), time.process_time()
            found = shares(stage, shards)
            seconds, used = time.perf_counter() - start, time.process_time() - used
            print(f"{path.name:>36}  {cells(found)}")
            print(
                f"{'':>36}  {len(found):,} rows, {len(found) / seconds:,.0f} a second, "
                f"{len(found) / used:,.0f} in a second of one core"
            )
            columns = [stage.search(s, [True] * s.rows).columns for s in shards[: given.show]]
            for each in columns:
                for by, why in zip(
                    each["contaminated_by"], each["contamination_reason"], strict=True
                ):
                    print(f"    {by}: {why}")
        read = stage.benchmarks
        firsts = dict(zip(reversed(read.rows), reversed(read.texts), strict=True))
        long = [text for text in firsts.values() if len(text.split()) > width]
        for edits in EDITS:
            print(f"{f'{len(long):,} texts, {edits} words replaced':>36}  ", end="")
            print(cells(shares(stage, [edited(long, edits)])))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"peak {peak:,} MiB")


if __name__ == "__main__":
    main()
