"""Shingles, signatures and bands against what they stand for."""

from __future__ import annotations

import pickle
import random
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from threading import Barrier

import numpy as np
import pytest
from datasketch import MinHash
from numpy.typing import NDArray

from clear_pipeline.stages.dedup.candidates import (
    RECALL,
    WINDOW,
    band_keys,
    banding,
    neighbours,
    shared_buckets,
    signatures,
)
from clear_pipeline.stages.dedup.clusters import Pairs, keepers
from clear_pipeline.stages.dedup.common import common_shingles
from clear_pipeline.stages.dedup.corpus import Words
from clear_pipeline.stages.dedup.shingles import hash_of, jaccard, members, shingle, without
from clear_pipeline.stages.dedup.spill import Spilled, SpilledTokens
from clear_pipeline.stages.dedup.words import Tokens, concatenate, in_blocks, mix, tokenize


def similarity(texts: list[str], width: int) -> list[float]:
    """Of the first text with each of the others."""
    sets = members(shingle(tokenize(texts), width))
    others = np.arange(1, len(texts))
    found: list[float] = jaccard(sets, len(texts), np.zeros_like(others), others).tolist()
    return found


def test_bands_reach_the_recall_and_no_selective_choice_does() -> None:
    """18 bands of 7 rows at 0.8 with 128 permutations: P = 0.9855; 16 of 8 would miss more."""
    assert banding(0.8, 128) == (18, 7)
    assert 1 - (1 - 0.8**7) ** 18 >= RECALL > 1 - (1 - 0.8**8) ** 16
    assert banding(1.0, 128) == (1, 128)


def test_jaccard_is_that_of_sets_of_word_runs() -> None:
    """Words a b c d against b c d e with runs of two: 2 of 4; equal texts 1, foreign ones 0."""
    assert similarity(["a b c d", "b c d e", "A b, c d!", "x"], 2) == [0.5, 1.0, 0.0]


def test_a_repeated_run_counts_once() -> None:
    """A b a b a has the runs ab and ba, as has a b a: they are equal sets."""
    assert similarity(["a b a b a", "a b a", "a b"], 2) == [1.0, 0.5]


def test_a_text_shorter_than_a_shingle_is_one_shingle() -> None:
    """So it equals itself alone."""
    assert np.diff(shingle(tokenize(["a b", "a", "a b c d e f"]), 5).offsets).tolist() == [1, 1, 2]
    assert similarity(["a b", "a b", "a c", "a", "b a"], 5) == [1.0, 0.0, 0.0, 0.0]


def test_characters_are_words_where_they_are_asked_for() -> None:
    """Abcd against abce in runs of two letters: ab and bc of ab, bc, cd, ce."""
    tokens = tokenize(["abcd", "ab-ce", "ABCD!"], unit="character")
    assert tokens.lengths.tolist() == [4, 5, 4]
    sets = members(shingle(tokens, 2))
    assert jaccard(sets, 3, np.zeros(2, np.int64), np.array([1, 2])).tolist() == [1 / 6, 1.0]


def test_tokens_of_parts_are_those_of_the_whole() -> None:
    """Cutting texts into shards changes no word, sentence or hash."""
    texts = ["One. Two three!", "", "日本語。テスト", "a\nb", "...", "x != y"]
    whole = tokenize(texts)
    parts = concatenate([tokenize(texts[:2]), tokenize(texts[2:])])
    assert parts.hashes.tolist() == whole.hashes.tolist()
    assert parts.starts.tolist() == whole.starts.tolist()
    assert parts.offsets.tolist() == whole.offsets.tolist() == [0, 3, 4, 10, 12, 13, 16]
    assert np.flatnonzero(whole.starts).tolist() == [0, 1, 3, 4, 7, 10, 11, 12, 13]


def test_equal_texts_have_equal_words() -> None:
    """Each different text is cut once, and every row has the words that it has alone."""
    texts = ["One. Two three!", "a\nb", "One. Two three!", "", "a b", "", "a\nb"]
    words, whole = Words.of(texts, "word"), tokenize(texts)
    for name in ("hashes", "starts", "offsets"):
        assert np.array_equal(getattr(words.tokens, name), getattr(whole, name))
    assert np.array_equal(words.whole, whole.whole())
    assert words.whole[1] == words.whole[4]  # a line end ends a sentence and is no word


def test_blocks_are_as_large_as_they_may_be() -> None:
    """At most 5 together and three items, but for one item that alone has more."""
    sizes = np.array([2, 3, 1, 9, 0, 0, 0, 5], np.int64)
    parts = [sizes[part].tolist() for part in in_blocks(sizes, together=5, most=3)]
    assert parts == [[2, 3], [1], [9], [0, 0, 0], [5]]
    assert list(in_blocks(np.zeros(0, np.int64), together=5)) == []


def test_many_texts_have_the_words_that_each_has_alone() -> None:
    """Half a million characters, which are cut in several blocks, one of them a single text."""
    texts = [*("One two. Three!" * n for n in range(1, 200)), "x " * 150_000, "Last."]
    alone = concatenate([tokenize([text]) for text in texts])
    together = tokenize(texts)
    for name in ("hashes", "starts", "offsets"):
        assert np.array_equal(getattr(together, name), getattr(alone, name))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Don't pay 3.14 or 1,000.", ["don't", "pay", "3.14", "or", "1,000"]),
        ("3 + 4 - x*y", ["3", "+", "4", "-", "x", "*", "y"]),
        ("return !done; x != y", ["return", "!done", "x", "!=", "y"]),
        (".5 and -.25, not a.5 or ...5", [".5", "and", "-", ".25", "not", "a.5", "or", "5"]),
        ("wow!!done ... 'so'", ["wow", "!done", "so"]),
        ("Straße, e\u0301t\u00e9", ["strasse", "\u00e9t\u00e9"]),
        ("東京 is 首都", ["東", "京", "is", "首", "都"]),
        ("half \ud800 pair", ["half", "\ud800", "pair"]),
    ],
)
def test_words_are_what_a_reader_would_say(text: str, words: list[str]) -> None:
    """Each word has the hash that it has as a text of its own."""
    assert tokenize([text]).hashes.tolist() == tokenize(words).hashes.tolist()


@pytest.mark.parametrize("letter", ["a", "\u00e9", "\u0142"])
@pytest.mark.parametrize("length", [1, 7, 8, 9, 15, 16, 17, 40])
def test_the_hash_of_a_word_is_a_sum_over_its_characters(letter: str, length: int) -> None:
    """Code point plus one, times the factor of its place, mixed: at any length, of any letters."""
    word = "z" * (length - 1) + letter
    factors = mix(np.arange(1, length + 1, dtype=np.uint64)) | np.uint64(1)
    summed = sum((ord(c) + 1) * f for c, f in zip(word, factors.tolist(), strict=True))
    expected = mix(np.array([summed % 2**64], np.uint64)) & np.uint64(2**63 - 1)
    hashes = tokenize([f"A {word} b", word, "\u0142 x"]).hashes
    assert hashes[1] == hashes[3] == expected[0]


def test_little_is_written_together_and_read_at_once(tmp_path: Path) -> None:
    """Numbers are there as soon as they are appended, in the file only when they are many."""
    path = tmp_path / "numbers"
    column: Spilled[np.int32] = Spilled(path, np.int32)
    for number in range(100):
        column.append(np.array([number, -number], np.int32))
    assert not path.exists()
    assert len(column) == 200
    assert column.take(np.array([199, 2])).tolist() == [-99, 1]
    column.append(np.arange(5, dtype=np.int32))
    assert column.read(198).tolist() == [99, -99, 0, 1, 2, 3, 4]
    for _ in range(20):
        column.append(np.zeros(1000, np.int32))
    assert path.stat().st_size >= 205 * 4 + (1 << 16)
    column.drop()
    assert not path.exists()


def test_a_copy_reads_what_was_appended(tmp_path: Path) -> None:
    """Another process is given a column of three numbers; neither writes them twice."""
    column: Spilled[np.int32] = Spilled(tmp_path / "numbers", np.int32)
    column.append(np.array([1, 2, 3], np.int32))
    copy = pickle.loads(pickle.dumps(column))
    assert copy.read().tolist() == column.read().tolist() == [1, 2, 3]
    assert (tmp_path / "numbers").stat().st_size == 12


def test_threads_that_read_at_once_write_nothing_twice(tmp_path: Path) -> None:
    """Eight threads, of which the first has to bring the file up to date; in 50 columns."""
    expected = np.arange(16_000, dtype=np.float32)
    with ThreadPoolExecutor(8) as pool:
        for number in range(50):
            path = tmp_path / str(number)
            column: Spilled[np.float32] = Spilled(path, np.float32)
            column.append(expected)
            together = Barrier(8)

            def read(_: int, column: Spilled[np.float32] = column, at: Barrier = together) -> bool:
                at.wait()
                return np.array_equal(column.read(), expected)

            assert all(pool.map(read, range(8)))
            assert path.stat().st_size == expected.nbytes


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="tells the memory on Linux")
def test_what_is_taken_is_held_and_not_what_lies_between(tmp_path: Path) -> None:
    """Of 128 MiB one number in each 4 KiB: 256 KiB, for which less than 40 MiB are resident."""
    code = (
        "import sys; from pathlib import Path; import numpy as np;"
        "from clear_pipeline.stages.dedup.spill import Spilled;"
        "high = lambda: int(Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0]);"
        "column = Spilled(Path(sys.argv[1]), np.uint64);"
        "[column.append(np.zeros(1 << 17, np.uint64)) for _ in range(128)];"
        "before = high(); taken = column.take(np.arange(0, 1 << 24, 512));"
        "assert taken.nbytes == 1 << 18; print(high() - before)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "numbers")]
    told = subprocess.run(command, check=True, capture_output=True, text=True)
    assert int(told.stdout) < 40 * 1024


def test_spilled_tokens_come_back_in_any_order(tmp_path: Path) -> None:
    """Words, sentences and offsets, of neighbours and of texts far apart."""
    texts = [f"One {i}. Two {'x ' * (i % 7)}!" for i in range(300)]
    whole, spilled = tokenize(texts), SpilledTokens(tmp_path / "words")
    for start in range(0, 300, 100):
        spilled.append(tokenize(texts[start : start + 100]))
    spilled.close()
    for wanted in ([3, 4, 5], [299, 0, 150], [], [7, 7]):
        taken, expected = (side.take(np.array(wanted, np.int64)) for side in (spilled, whole))
        assert taken.hashes.tolist() == expected.hashes.tolist()
        assert taken.starts.tolist() == expected.starts.tolist()
        assert taken.offsets.tolist() == expected.offsets.tolist()


def test_common_shingles_are_counted_over_the_whole_file() -> None:
    """Of 1,200 texts 13 share one pair of words, spread over blocks, and 12 share another."""
    texts = [f"w{i} v{i}" for i in range(1200)]
    for i in range(13):
        texts[90 * i] += " spread out"
    for i in range(12):
        texts[90 * i + 1] += " not quite"

    def blocks() -> Iterator[Tokens]:
        return (tokenize(texts[start : start + 70]) for start in range(0, 1200, 70))

    common = common_shingles(blocks, 1200, width=2, fraction=0.01)
    assert common.tolist() == hash_of(members(shingle(tokenize(["spread out"]), 2))).tolist()
    assert len(common_shingles(blocks, 1200, width=2, fraction=0.02)) == 0


def test_without_common_shingles_a_text_of_nothing_else_is_one_shingle() -> None:
    """It is alike to the same words alone; others keep what is their own."""
    tokens = tokenize(["a b c", "a b", "b c a b", "a b"])
    common = np.unique(hash_of(members(shingle(tokenize(["a b", "b c"]), 2))))
    left = without(shingle(tokens, 2), common, tokens.whole(), width=2)
    assert np.diff(left.offsets).tolist() == [1, 1, 1, 1]
    sets = members(left)
    firsts, seconds = np.array([0, 0, 1, 1]), np.array([1, 2, 3, 0])
    assert jaccard(sets, 4, firsts, seconds).tolist() == [0.0, 0.0, 1.0, 0.0]


def test_at_the_seam_of_a_template_nothing_counts() -> None:
    """Of a template of four words and five others the two shingles of the others alone remain."""
    tokens = tokenize(
        ["this is the frame a b c d", "x y this is the frame", "no frame at all here"]
    )
    common = hash_of(members(shingle(tokenize(["this is the frame"]), 3)))
    left = without(shingle(tokens, 3), common, tokens.whole(), width=3)
    own = shingle(tokenize(["a b c d", "no frame at all here"]), 3).hashes.tolist()
    first, last = left.hashes[:2].tolist(), left.hashes[3:].tolist()
    assert np.diff(left.offsets).tolist() == [2, 1, 3]
    assert first + last == own


def test_signatures_estimate_jaccard() -> None:
    """The share of equal places is within 5 standard errors of the exact similarity."""
    text = " ".join(f"w{i}" for i in range(200))
    texts = [text, text.replace("w100", "other")]
    signed = signatures(shingle(tokenize(texts), 5), 1024)
    [exact] = similarity(texts, 5)
    error = (exact * (1 - exact) / 1024) ** 0.5
    assert float((signed[:, 0] == signed[:, 1]).mean()) == pytest.approx(exact, abs=5 * error)


def test_signatures_are_those_of_datasketch_on_the_same_hashes() -> None:
    """Its MinHash, fed with the low 32 bits of each shingle, permutation by permutation."""
    texts = [" ".join(f"w{i}" for i in range(n)) for n in (3, 9, 40, 700, 9000)]
    shingles = shingle(tokenize(texts), 5)
    for text, (start, stop) in enumerate(pairwise(shingles.offsets.tolist())):
        reference = MinHash(num_perm=32, scheme="affine32", hashfunc=int)
        reference.update_batch((shingles.hashes[start:stop] & np.uint64(0xFFFFFFFF)).tolist())
        assert signatures(shingles, 32)[:, text].tolist() == reference.hashvalues.tolist()


def test_signatures_do_not_depend_on_the_other_texts() -> None:
    """Chunks of texts are computed together, each text for itself."""
    rng = random.Random(0)
    texts = [" ".join(rng.choices("abcdefghij", k=rng.randint(1, 9000))) for _ in range(100)]
    together = signatures(shingle(tokenize(texts), 3), 16)
    alone = [signatures(shingle(tokenize([text]), 3), 16)[:, 0] for text in texts]
    assert together.T.tolist() == np.array(alone).tolist()


def test_equal_rows_of_a_signature_share_a_bucket_of_that_band_alone() -> None:
    """Texts 0 and 2 agree in the second band of two, texts 1 and 2 in the first."""
    signed = np.array([[1, 2, 3, 4], [5, 6, 7, 8], [5, 6, 3, 4], [5, 9, 3, 9]], np.uint32)
    first, second = band_keys(signed.T, bands=2, rows=2)
    assert sorted(shared_buckets(first)[0].tolist()) == [1, 2]
    assert sorted(shared_buckets(second)[0].tolist()) == [0, 2]


def test_a_bucket_of_many_costs_linear_work() -> None:
    """Each of 1,000 texts in one bucket is paired with WINDOW others, and all stay connected."""
    n = 1000
    texts = np.arange(n)
    first, second = neighbours(texts, np.zeros(n, np.int64), (texts.astype(np.uint64),))
    assert len(first) <= n * WINDOW
    keeper, _ = keepers(texts, Pairs(first, second, np.ones(len(first))), texts)
    assert set(keeper.tolist()) == {0}


def test_the_pairs_of_a_large_bucket_do_not_depend_on_the_order() -> None:
    """Texts are known by their words: shuffled, the same pairs are found."""
    rng = np.random.default_rng(0)
    buckets = rng.integers(0, 2, 20 * WINDOW)
    names = rng.permutation(len(buckets)).astype(np.uint64)

    def found(order: NDArray[np.int64]) -> set[frozenset[int]]:
        pairs = neighbours(np.arange(len(order)), buckets[order], (names[order],))
        return {frozenset(names[order][list(pair)].tolist()) for pair in zip(*pairs, strict=True)}

    straight = np.arange(len(buckets))
    assert len(found(straight)) > 0
    assert found(straight) == found(rng.permutation(straight))


def pairs(*edges: tuple[int, int, float]) -> Pairs:
    first, second, similarity = zip(*edges, strict=True)
    return Pairs(np.array(first), np.array(second), np.array(similarity))


def test_the_path_to_the_keeper_is_as_strong_as_its_weakest_pair() -> None:
    """Texts 0 - 1 - 2 in a chain; the keeper is the row of lowest rank in the cluster."""
    text_of = np.array([2, 0, 1, 0, 3])
    keeper, similarity = keepers(text_of, pairs((0, 1, 0.9), (1, 2, 0.8)), np.arange(5))
    assert keeper.tolist() == [0, 0, 0, 0, 4]
    assert similarity.tolist() == [1.0, 0.8, 0.8, 0.8, 1.0]


def test_of_two_ways_to_the_keeper_the_stronger_one_counts() -> None:
    """In a triangle the way round over 0.9 and 0.95 beats the direct 0.8."""
    keeper, similarity = keepers(
        np.arange(3), pairs((0, 1, 0.8), (1, 2, 0.9), (0, 2, 0.95)), np.arange(3)
    )
    assert keeper.tolist() == [0, 0, 0]
    assert similarity.tolist() == [1.0, 0.9, 0.95]


def test_a_long_chain_keeps_its_weakest_pair() -> None:
    """1,000 texts in a row, of which the 500th and 501st are least alike."""
    strengths = np.full(999, 0.9)
    strengths[500] = 0.85
    chain = Pairs(np.arange(999), np.arange(1, 1000), strengths)
    keeper, similarity = keepers(np.arange(1000), chain, np.arange(1000))
    assert set(keeper.tolist()) == {0}
    assert similarity.tolist() == [1.0] + [0.9] * 500 + [0.85] * 499
