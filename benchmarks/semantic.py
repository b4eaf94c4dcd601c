"""What semantic deduplication leaves out, and what it must not: pairs, planted changes, cost.

Usage: python -m benchmarks.semantic pairs FILE [--show N]
       python -m benchmarks.semantic search [--rows N]

`pairs` embeds a file with the word vectors of the package and counts pairs and rows by threshold,
with and without the guard of `dedup.claims`; then how much of the rows whose meaning was changed by
one number, name or negation, or not at all, is still a pair with the row it was made from. `search`
compares the exact search with those of faiss and usearch, where these are installed, on rows made
of random directions: seconds of one core, and the share of pairs that is found.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.dedup_ours import load
from clear_pipeline.schema import Example, Message, examples, rows_table
from clear_pipeline.stages.base import Context, Shard
from clear_pipeline.stages.dedup.claims import claim_keys
from clear_pipeline.stages.dedup.clusters import Pairs
from clear_pipeline.stages.dedup.semantic import similar_pairs
from clear_pipeline.stages.embed import Embed

F16 = NDArray[np.float16]
I64 = NDArray[np.int64]
Text = tuple[str, str]
"""Prompt and response."""

THRESHOLDS = (0.80, 0.85, 0.90, 0.93, 0.95, 0.97)
SEED = 0
NEIGHBOURS = 64


def texts(shards: Sequence[Shard]) -> list[Text]:
    """Of all rows."""
    return [
        ("\n".join(turn.text for turn in row.messages), row.response)
        for shard in shards
        for row in examples(shard.table)
    ]


def vectors(shards: Sequence[Shard]) -> F16:
    """Of all rows, by the stage."""
    tables = [
        asyncio.run(Embed().annotate(shard, [True] * shard.rows, None, Context()))
        for shard in shards
    ]
    found = [np.array(vector, np.float16) for t in tables for vector in t["embedding"].to_pylist()]
    return np.stack(found)


def alike(rows: F16, groups: I64, threshold: float) -> Pairs:
    """Pairs of rows whose prompts and responses each have that cosine."""
    with tempfile.TemporaryDirectory() as scratch:
        return similar_pairs(
            [(rows, groups)],
            threshold=threshold,
            neighbours=NEIGHBOURS,
            scratch=Path(scratch),
            parts=2,
        )


def print_pairs(rows: Sequence[Text], found: F16, *, show: int) -> None:
    """Pairs and rows left out by threshold; the most similar ones in full."""
    keys, all_alike = claim_keys(rows), np.zeros(len(rows), np.int64)
    print(f"{len(rows):,} rows, {len({*keys.tolist()}):,} combinations of numbers and negations")
    print("threshold      pairs  left out   with the guard: pairs  left out")
    for threshold in THRESHOLDS:
        free, kept = (alike(found, groups, threshold) for groups in (all_alike, keys))
        lost, still = (len({*pairs.second.tolist()}) for pairs in (free, kept))
        print(
            f"{threshold:9.2f}  {len(free.first):9,}  {lost / len(rows):8.2%}  "
            f"{len(kept.first):21,}  {still / len(rows):8.2%}"
        )
    free = alike(found, all_alike, THRESHOLDS[0])
    for place in np.argsort(-free.similarity, kind="stable")[:show].tolist():
        one, other = int(free.first[place]), int(free.second[place])
        guarded = "" if keys[one] == keys[other] else ", kept apart by the guard"
        print(f"\n{free.similarity[place]:.3f}{guarded}")
        for row in (rows[one], rows[other]):
            print(f"  {row[0][:300]!r}\n    -> {row[1][:300]!r}")


def _number(prompt: str, response: str, _names: Sequence[str]) -> Text | None:
    found = re.search(r"\d+", prompt)
    if found is None:
        return None
    old, new = found.group(), str(int(found.group()) + 1)
    change = re.compile(rf"(?<!\d){old}(?!\d)")
    return change.sub(new, prompt), change.sub(new, response)


def _negation(prompt: str, response: str, _names: Sequence[str]) -> Text | None:
    found = re.search(r"\b(is|are|was|were|do|does|can|could|should|will|would|has|have)\b", prompt)
    if found is None:
        return None
    return f"{prompt[: found.end()]} not{prompt[found.end() :]}", response


def _name(prompt: str, response: str, names: Sequence[str]) -> Text | None:
    found = re.search(r"(?<=[a-z,] )[A-Z][a-z]+", prompt)
    if found is None:
        return None
    new = next(name for name in names if name not in prompt + response)
    change = re.compile(rf"\b{found.group()}\b")
    return change.sub(new, prompt), change.sub(new, response)


def _order(prompt: str, response: str, _names: Sequence[str]) -> Text | None:
    words = prompt.split(" ")
    long = [place for place, word in enumerate(words) if len(word) > 4 and word.isalpha()]
    if len(long) < 2:
        return None
    one, other = long[0], long[-1]
    words[one], words[other] = words[other], words[one]
    return " ".join(words), response


def _answer(prompt: str, response: str, _names: Sequence[str]) -> Text | None:
    if not re.match(r"(yes|true|no|false)\b", response, re.IGNORECASE):
        return None
    swapped = {"yes": "No", "true": "False", "no": "Yes", "false": "True"}
    word = re.split(r"\W", response)[0]
    return prompt, swapped[word.lower()] + response[len(word) :]


def _asked_kindly(prompt: str, response: str, _names: Sequence[str]) -> Text | None:
    return f"Could you please {prompt[0].lower()}{prompt[1:]}", response


def _introduced(prompt: str, response: str, _names: Sequence[str]) -> Text | None:
    return prompt, f"Sure! Here it is: {response}"


CHANGES: dict[str, Callable[[str, str, Sequence[str]], Text | None]] = {
    "another number, in both texts": _number,
    "a negation in the prompt": _negation,
    "yes for no in the response": _answer,
    "another name, in both texts": _name,
    "two words of the prompt swapped": _order,
    "the same, asked kindly": _asked_kindly,
    "the same, introduced": _introduced,
}
"""The first five ask or answer something else, the last two do not."""


def _changed(
    rows: Sequence[Text], change: Callable[..., Text | None]
) -> Iterator[tuple[int, Text]]:
    names = sorted({m for p, _ in rows for m in re.findall(r"(?<=[a-z,] )[A-Z][a-z]{3,}", p)})
    rng = random.Random(SEED)
    for number, (prompt, response) in enumerate(rows):
        made = change(prompt, response, rng.sample(names, min(len(names), 20)))
        if made is not None and made != (prompt, response):
            yield number, made


def _shard(rows: Sequence[Text]) -> Shard:
    made = [
        Example(f"e:{n}", "e", n, "openai", (Message("user", p),), Message("assistant", r), "{}")
        for n, (p, r) in enumerate(rows)
    ]
    return Shard("changed", rows_table(made))


def _cosines(one: F16, other: F16) -> NDArray[np.float64]:
    """The smaller of the cosines of the prompts and of the responses."""
    sides = [v.astype(np.float64).reshape(len(v), 2, -1) for v in (one, other)]
    left, right = (s / np.maximum(np.linalg.norm(s, axis=2, keepdims=True), 1e-9) for s in sides)
    least: NDArray[np.float64] = np.einsum("ijk,ijk->ij", left, right).min(axis=1)
    return least


def print_changes(rows: Sequence[Text], found: F16) -> None:
    """Of rows changed in one way, those that are still a pair with what they were."""
    print("\nshare that is still a pair at  " + "  ".join(f"{t:6.2f}" for t in THRESHOLDS))
    for name, change in CHANGES.items():
        places, made = zip(*_changed(rows, change), strict=True)
        similarity = _cosines(found[list(places)], vectors([_shard(made)]))
        same = claim_keys([rows[place] for place in places]) == claim_keys(made)
        for label, counted in ((name, np.ones(len(made), bool)), ("  with the guard", same)):
            shares = [float(np.mean(counted & (similarity >= t))) for t in THRESHOLDS]
            told = f"{label} ({len(made):,})" if label == name else label
            print(f"{told:>40}  " + "  ".join(f"{share:6.1%}" for share in shares))


def made_rows(rows: int, size: int = 256) -> F16:
    """Directions with a spectrum like that of word vectors, every tenth near an earlier one."""
    numbers = np.random.default_rng(SEED)
    found = numbers.normal(size=(rows, size)) * np.linspace(1.5, 0.5, size)
    near = numbers.choice(np.arange(rows // 2, rows), rows // 10, replace=False)
    found[near] = found[numbers.integers(0, rows // 2, len(near))]
    found[near] += numbers.uniform(0, 0.5, (len(near), 1)) * numbers.normal(size=(len(near), size))
    unit: F16 = (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float16)
    return unit


def _timed(search: Callable[[], set[tuple[int, int]]]) -> tuple[set[tuple[int, int]], float]:
    begun = time.process_time()
    return search(), time.process_time() - begun


def print_search(rows: int, threshold: float) -> None:
    """Seconds of one core and recall of each search."""
    made = made_rows(rows)
    wide = made.astype(np.float32)

    def ours() -> set[tuple[int, int]]:
        with tempfile.TemporaryDirectory() as scratch:
            found = similar_pairs(
                [(made, np.zeros(rows, np.int64))],
                threshold=threshold,
                neighbours=NEIGHBOURS,
                scratch=Path(scratch),
            )
        return {*zip(found.first.tolist(), found.second.tolist(), strict=True)}

    exact, seconds = _timed(ours)
    print(f"{rows:,} rows of {made.shape[1]} numbers, {len(exact):,} pairs at {threshold}")
    print(f"{'similar_pairs':>28}  {seconds:7.2f} s")
    for name, search in _others(wide, threshold).items():
        found, seconds = _timed(search)
        print(f"{name:>28}  {seconds:7.2f} s  {len(found & exact) / max(len(exact), 1):7.2%} found")


def _others(wide: NDArray[np.float32], threshold: float) -> dict[str, Callable[[], Any]]:
    """Searches of other libraries, as far as these are installed."""
    searches: dict[str, Callable[[], Any]] = {}
    if find_spec("faiss") is not None:
        searches["faiss IndexFlatIP"] = lambda: _by_faiss(wide, threshold, lists=0)
        searches["faiss IndexIVFFlat"] = lambda: _by_faiss(
            wide, threshold, lists=round(4 * len(wide) ** 0.5)
        )
    if find_spec("usearch") is not None:
        searches["usearch Index"] = lambda: _by_usearch(wide, threshold)
    return searches


def _by_faiss(wide: NDArray[np.float32], threshold: float, *, lists: int) -> set[tuple[int, int]]:
    """All vectors, or those of the eight nearest of so many lists."""
    faiss = import_module("faiss")
    faiss.omp_set_num_threads(1)
    index = flat = faiss.IndexFlatIP(wide.shape[1])
    if lists:
        index = faiss.IndexIVFFlat(flat, wide.shape[1], lists, faiss.METRIC_INNER_PRODUCT)
        index.train(wide)
        index.nprobe = 8
    index.add(wide)
    limits, _, labels = index.range_search(wide, threshold)
    rows = np.repeat(np.arange(len(wide)), np.diff(limits.astype(np.int64)))
    earlier = labels < rows
    return {*zip(labels[earlier].tolist(), rows[earlier].tolist(), strict=True)}


def _by_usearch(wide: NDArray[np.float32], threshold: float) -> set[tuple[int, int]]:
    """The 16 nearest by a graph (HNSW)."""
    index = import_module("usearch.index").Index(ndim=wide.shape[1], metric="cos", dtype="f16")
    index.add(np.arange(len(wide)), wide, threads=1)
    matches = index.search(wide, 16, threads=1)
    rows = np.arange(len(wide))[:, None]
    near = (1 - matches.distances >= threshold) & (matches.keys < rows)
    later = np.broadcast_to(rows, near.shape)[near]
    return {*zip(matches.keys[near].tolist(), later.tolist(), strict=True)}


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    pairs = commands.add_parser("pairs")
    pairs.add_argument("file", type=Path)
    pairs.add_argument("--show", type=int, default=0)
    search = commands.add_parser("search")
    search.add_argument("--rows", type=int, default=20_000)
    search.add_argument("--threshold", type=float, default=0.9)
    given = parser.parse_args()
    if given.command == "search":
        print_search(given.rows, given.threshold)
        return
    shards = load(given.file)
    rows, begun = texts(shards), time.process_time()
    found = vectors(shards)
    seconds = time.process_time() - begun
    print(f"{given.file.name}: embedded in {seconds:.1f} s of one core")
    print_pairs(rows, found, show=given.show)
    print_changes(rows, found)


if __name__ == "__main__":
    main()
