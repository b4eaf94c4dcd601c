"""Promises of decontaminate on generated rows: pieces of a few long texts, so that overlaps occur.

A naive reference, straight from the definition, says what each row shares with each text.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from clear_pipeline.stages.decontaminate import Decontaminate
from clear_pipeline.stages.dedup.words import spelled, tokenize
from decontaminate_rows import decontaminate, questions, stage
from dedup_rows import rows

WIDTH, COMMON, SHORT = 4, 2, 2
SETTINGS = {"ngram_words": WIDTH, "min_coverage": 0.5, "common_rows": COMMON, "short_words": SHORT}
VOCABULARY = [f"w{n}" for n in range(60)]
BASES = [random.Random(seed).sample(VOCABULARY, 20) for seed in range(3)]


@st.composite
def texts(draw: st.DrawFn) -> str:
    """A stretch of a base text with up to two words replaced, or a few words of a small set."""
    if draw(st.integers(0, 3)) == 0:
        return " ".join(draw(st.lists(st.sampled_from(VOCABULARY[:2]), min_size=1, max_size=8)))
    start, end = sorted(draw(st.tuples(st.integers(0, 19), st.integers(0, 19))))
    told = draw(st.sampled_from(BASES))[start : end + 1]
    for place in draw(st.lists(st.integers(0, len(told) - 1), max_size=2)):
        told[place] = draw(st.sampled_from(VOCABULARY))
    return " ".join(told)


BENCHMARKS = st.lists(texts(), min_size=1, max_size=6)
PAIRS = st.lists(st.tuples(texts(), texts()), min_size=1, max_size=6)
Ngrams = set[tuple[str, ...]]


@contextmanager
def against(benchmark: Sequence[str]) -> Iterator[Decontaminate]:
    with tempfile.TemporaryDirectory() as folder:
        yield stage(questions(Path(folder), *benchmark), **SETTINGS)


def ngrams(text: str) -> Ngrams:
    told = text.split()
    found = {tuple(told[at : at + WIDTH]) for at in range(len(told) - WIDTH + 1)}
    return {ngram for ngram in found if 3 * len(set(ngram)) >= WIDTH}


def own_ngrams(benchmark: Sequence[str]) -> list[Ngrams]:
    """Of each text, those that not too many different texts have."""
    different = set(benchmark)
    most = min(COMMON, len(different) / 2) if len(different) >= 3 else COMMON
    return [
        {one for one in ngrams(text) if sum(one in ngrams(other) for other in different) <= most}
        for text in benchmark
    ]


def share(prompt: str, response: str, text: str, own: Ngrams) -> Fraction:
    """How much of a benchmark's text a row has."""
    if own:
        return Fraction(len(own & (ngrams(prompt) | ngrams(response))), len(own))
    long = len(text.split()) >= WIDTH
    asked = text == prompt and len(text.split()) >= SHORT
    return Fraction(asked or (long and text == response))


@settings(max_examples=80)
@given(BENCHMARKS, PAIRS)
def test_it_finds_what_the_definition_says(
    benchmark: list[str], pairs: list[tuple[str, str]]
) -> None:
    """No hit too many and none too few, with the share and the first text that has it."""
    with against(benchmark) as given_stage:
        found = decontaminate(rows(pairs), given_stage)
    owned = own_ngrams(benchmark)
    for pair, columns in zip(pairs, found, strict=True):
        shares = [share(*pair, text, own) for text, own in zip(benchmark, owned, strict=True)]
        best = max(shares)
        assert (columns["contamination"] or 0.0) == float(best)
        by = f"test.jsonl:{shares.index(best) + 1}" if best >= Fraction(1, 2) else None
        assert columns["contaminated_by"] == by
        if by and owned[shares.index(best)]:
            assert columns["shared_ngrams"] == best * len(owned[shares.index(best)])


@settings(max_examples=60)
@given(BENCHMARKS, PAIRS, st.data())
def test_order_and_shards_change_nothing(
    benchmark: list[str], pairs: list[tuple[str, str]], data: st.DataObject
) -> None:
    """Rows in another order and in other shards get what they got."""
    order = data.draw(st.permutations(range(len(pairs))))
    cuts = data.draw(st.lists(st.integers(0, len(pairs)), max_size=3))
    with against(benchmark) as given_stage:
        found = decontaminate(rows(pairs), given_stage)
        moved = decontaminate(rows([pairs[n] for n in order]), given_stage, cuts=cuts)
    assert moved == [found[n] for n in order]


@settings(max_examples=60)
@given(BENCHMARKS, st.data(), st.sampled_from(["prompt", "response"]))
def test_a_copy_of_a_long_text_is_always_found(
    benchmark: list[str], data: st.DataObject, side: str
) -> None:
    """As a turn or as the response, whatever else the benchmark holds."""
    text = data.draw(st.sampled_from(benchmark))
    if len(text.split()) < WIDTH:
        return
    copy = (text, "no") if side == "prompt" else ("what?", text)
    with against(benchmark) as given_stage:
        [columns] = decontaminate(rows([copy]), given_stage)
    assert columns["contamination"] == 1.0
    assert columns["contaminated_by"] is not None


@given(st.lists(st.text(), min_size=1, max_size=4))
def test_words_are_those_that_the_tokeniser_hashes(given_texts: list[str]) -> None:
    """One for each hash, in order, with that hash by itself: no word of a hit is another's."""
    tokens = tokenize(given_texts)
    words = [word for text in given_texts for word in spelled(text)]
    assert tokens.lengths.tolist() == [len(spelled(text)) for text in given_texts]
    assert tokenize(words).hashes.tolist() == tokens.hashes.tolist()
