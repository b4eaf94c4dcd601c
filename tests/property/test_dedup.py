"""Promises of dedup on generated rows: edits of a few long texts, so that near-duplicates occur."""

from __future__ import annotations

import random
from collections import deque
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from clear_pipeline.schema import Example
from clear_pipeline.stages.dedup import Dedup
from dedup_rows import dedup, partition, rows

THRESHOLD = Dedup().threshold
WIDTH = Dedup().ngram
VOCABULARY = [f"w{i}" for i in range(400)]
BASES = [random.Random(seed).sample(VOCABULARY, 70) for seed in range(3)]


@st.composite
def texts(draw: st.DrawFn) -> str:
    """A base text with up to three words replaced, or a short text."""
    if draw(st.booleans()):
        return " ".join(draw(st.lists(st.sampled_from(VOCABULARY[:3]), min_size=1, max_size=6)))
    words = list(draw(st.sampled_from(BASES)))
    for place in draw(st.lists(st.integers(0, 69), max_size=3)):
        words[place] = draw(st.sampled_from(VOCABULARY))
    return " ".join(words)


# At most as many rows as a template must have at least, so that none is dropped and the Jaccard
# similarity of the whole texts is what counts.
examples = st.lists(st.tuples(texts(), texts()), min_size=1, max_size=10).map(rows)


def jaccard(first: str, second: str) -> float:
    """Similarity of two texts without punctuation, straight from the definition."""

    def shingles(text: str) -> set[tuple[str, ...]]:
        words = text.split()
        return {tuple(words[i : i + WIDTH]) for i in range(max(1, len(words) - WIDTH + 1))}

    one, other = shingles(first), shingles(second)
    return len(one & other) / len(one | other)


def similarity(one: Example, other: Example) -> float:
    prompts = jaccard(one.messages[0].text, other.messages[0].text)
    return min(prompts, jaccard(one.response, other.response))


def strongest_path(members: list[Example], start: Example, end: Example) -> float:
    """The greatest weakest similarity on any path through members, by verified pairs alone."""
    best = {start.id: 1.0}
    waiting = deque([start])
    while waiting:
        here = waiting.popleft()
        for there in members:
            pair = similarity(here, there)
            through = min(best[here.id], pair)
            if pair >= THRESHOLD and through > best.get(there.id, 0.0):
                best[there.id] = through
                waiting.append(there)
    return best.get(end.id, 0.0)


def survivors(given_rows: list[Example], found: list[dict[str, Any]]) -> list[Example]:
    return [e for e, c in zip(given_rows, found, strict=True) if c["duplicate_of"] is None]


@settings(max_examples=60)
@given(examples, st.data())
def test_the_partition_ignores_row_order_and_shard_cuts(
    given_rows: list[Example], data: st.DataObject
) -> None:
    """Shuffled rows in other shards give the same clusters."""
    shuffled = data.draw(st.permutations(given_rows))
    cuts = data.draw(st.lists(st.integers(0, len(given_rows)), max_size=3))
    assert partition(given_rows, dedup(given_rows)) == partition(
        shuffled, dedup(shuffled, cuts=cuts)
    )


@settings(max_examples=60)
@given(examples, st.sampled_from(["first", "longest"]))
def test_every_removed_row_reaches_its_keeper(given_rows: list[Example], keep: str) -> None:
    """The keeper stays, and verified pairs at the threshold lead to it at least as strongly."""
    found = dedup(given_rows, Dedup.model_validate({"keep": keep}))
    by_id = {e.id: (e, c) for e, c in zip(given_rows, found, strict=True)}
    for example, columns in by_id.values():
        if columns["duplicate_of"] is None:
            assert columns["similarity"] is None
            continue
        keeper, kept = by_id[columns["duplicate_of"]]
        assert kept["duplicate_of"] is None
        assert kept["cluster"] == columns["cluster"] == keeper.id
        members = [e for e, c in by_id.values() if c["cluster"] == keeper.id]
        assert THRESHOLD <= columns["similarity"] <= strongest_path(members, example, keeper)


@settings(max_examples=60)
@given(examples)
def test_dedup_is_idempotent_and_leaves_a_row(given_rows: list[Example]) -> None:
    """A second run over the rows that stayed finds nothing, and there are such rows."""
    left = survivors(given_rows, dedup(given_rows))
    assert left
    assert survivors(left, dedup(left)) == left


@settings(max_examples=60)
@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("cd")), min_size=1, max_size=30))
def test_exact_duplicates_never_stay(pairs: list[tuple[str, str]]) -> None:
    """Of equal contents the first row stays, in every method."""
    given_rows = rows(pairs)
    for method in ("exact", "minhash"):
        found = dedup(given_rows, Dedup.model_validate({"method": method}), cuts=[len(pairs) // 2])
        stayed = [(e.messages[0].text, e.response) for e in survivors(given_rows, found)]
        assert stayed == list(dict.fromkeys(pairs))


questions = st.lists(st.sampled_from(VOCABULARY[:6]), min_size=1, max_size=20).map(" ".join)


@settings(max_examples=60)
@given(st.sets(questions, min_size=2, max_size=6), st.sampled_from(["\n", ". ", ".\n\nQuestion: "]))
def test_different_questions_on_one_context_are_never_merged(asked: set[str], joint: str) -> None:
    """Whatever they share with each other, with equal answers and a long context."""
    context = " ".join(BASES[0])
    for pattern in (f"{context}{joint}{{}}?", f"{{}}?{joint}{context}"):
        found = dedup(rows([(pattern.format(question), "Yes.") for question in sorted(asked)]))
        assert all(columns["cluster"] is None for columns in found)
