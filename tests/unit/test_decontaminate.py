"""Decontaminate: what counts as an overlap with a benchmark, in figures computed by hand."""

from __future__ import annotations

import asyncio
import string
from pathlib import Path

import numpy as np
import pytest

from clear_pipeline.schema import JSON, Example, Message, rows_table
from clear_pipeline.stages.base import Context, DatasetStage, Shard, SilentProgress
from clear_pipeline.stages.decontaminate import Decontaminate
from clear_pipeline.stages.decontaminate.index import Index, Postings
from clear_pipeline.stages.decontaminate.ngrams import different_words, ngram_hashes
from clear_pipeline.stages.decontaminate.search import RowTexts, search
from clear_pipeline.stages.dedup.words import spelled, tokenize
from decontaminate_rows import benchmark, decontaminate, questions, stage
from dedup_rows import row, rows

LETTERS = string.ascii_lowercase
TWENTY = " ".join(LETTERS[:20])
"""20 words, so 8 n-grams of 13."""
EIGHT = '8 of 8 13-grams, first "a b c d e f g h i j k l …"'


def hits(examples: list[Example], given: Decontaminate) -> list[str | None]:
    return [columns["contaminated_by"] for columns in decontaminate(examples, given)]


def test_it_is_a_dataset_stage(tmp_path: Path) -> None:
    """It has the members that the engine asks for."""
    assert isinstance(stage(questions(tmp_path, TWENTY)), DatasetStage)


def test_a_copy_names_the_row_of_the_benchmark(tmp_path: Path) -> None:
    """File and line, all 8 of 8 n-grams, and the first words; the other row has nothing."""
    against = questions(tmp_path, "another one", TWENTY)
    given = [row(f"Solve: {TWENTY}!", "yes"), row("something else", "no", line=2)]
    assert decontaminate(given, stage(against)) == [
        {
            "contaminated_by": "test.jsonl:2",
            "contamination": 1.0,
            "shared_ngrams": 8,
            "contamination_reason": EIGHT,
        },
        {
            "contaminated_by": None,
            "contamination": None,
            "shared_ngrams": None,
            "contamination_reason": None,
        },
    ]


@pytest.mark.parametrize(
    ("place", "ngrams", "share"),
    [
        (0, 7, 0.875),  # a n-gram begins with the first word alone
        (3, 4, 0.5),  # those that begin with d or before
        (7, 0, None),  # every one of them has the eighth word
        (19, 7, 0.875),
    ],
)
def test_a_replaced_word_costs_the_ngrams_that_hold_it(
    tmp_path: Path, place: int, ngrams: int, share: float | None
) -> None:
    """The share counts n-grams of the benchmark's text, whatever else the row says."""
    changed = TWENTY.split()
    changed[place] = "replaced"
    given = [row(f"before {' '.join(changed)} after", "yes")]
    [columns] = decontaminate(given, stage(questions(tmp_path, TWENTY), min_coverage=0.01))
    assert columns["contamination"] == share
    assert columns["shared_ngrams"] == (ngrams or None)


def test_the_threshold_is_the_least_share(tmp_path: Path) -> None:
    """4 of 8 n-grams are a hit at 0.5 and none above it, where the share is told all the same."""
    against = questions(tmp_path, TWENTY)
    half = [row(" ".join(LETTERS[:16]), "yes")]
    assert hits(half, stage(against, min_coverage=0.5)) == ["test.jsonl:1"]
    [columns] = decontaminate(half, stage(against, min_coverage=0.51))
    assert columns["contaminated_by"] is None
    assert columns["contamination"] == 0.5


def test_case_and_punctuation_do_not_count_and_symbols_do(tmp_path: Path) -> None:
    """As in dedup: the tokeniser is the same."""
    against = questions(tmp_path, "What is 3 + 4 if a, b and c are as they were before?")
    same = "what is 3 + 4 IF A b and c are As they were before"
    given = rows([(same, "7"), (same.replace("+", "-"), "-1")])
    assert hits(given, stage(against)) == ["test.jsonl:1", None]


@pytest.mark.parametrize(
    ("compare", "expected"),
    [
        ("both", ["test.jsonl:1", "test.jsonl:1", None]),
        ("prompt", ["test.jsonl:1", None, None]),
        ("response", [None, "test.jsonl:1", None]),
    ],
)
def test_the_sides_that_are_compared(
    tmp_path: Path, compare: str, expected: list[str | None]
) -> None:
    """Prompt, response or both; an n-gram never reaches from one text into the next."""
    first, second = " ".join(LETTERS[:10]), " ".join(LETTERS[10:20])
    given = rows([(TWENTY, "no"), ("who?", TWENTY), (first, second)])
    assert hits(given, stage(questions(tmp_path, TWENTY), compare=compare)) == expected


def test_every_turn_is_compared(tmp_path: Path) -> None:
    """System, user, tool calls and earlier answers stand before the target."""
    turns = (Message("user", "go on"), Message("assistant", None, tool_calls=f'["{TWENTY}"]'))
    example = Example("a:1", "a", 1, "openai", turns, Message("assistant", "done"), "{}")
    assert hits([example], stage(questions(tmp_path, TWENTY))) == ["test.jsonl:1"]


def test_a_short_text_must_be_all_that_is_asked(tmp_path: Path) -> None:
    """Fewer words than an n-gram: equal to a turn of the user, word for word, and no less."""
    against = questions(tmp_path, "Who wrote Romeo and Juliet?")
    given = rows(
        [
            ("who wrote romeo and juliet", "Shakespeare"),
            ("Tell me who wrote Romeo and Juliet.", "Shakespeare"),
            ("Give me a question.", "Who wrote Romeo and Juliet?"),
        ]
    )
    columns = decontaminate(given, stage(against))
    assert [c["contaminated_by"] for c in columns] == ["test.jsonl:1", None, None]
    assert columns[0]["contamination"] == 1.0
    assert columns[0]["shared_ngrams"] is None
    assert columns[0]["contamination_reason"] == 'word for word "who wrote romeo and juliet"'


def test_common_short_answers_never_contaminate(tmp_path: Path) -> None:
    """Texts of fewer than `short_words` words are compared with nothing, and rows of them told."""
    against = benchmark(tmp_path, [{"q": "Yes", "a": "No"}, {"q": "a b c d e f", "a": "Yes"}])
    progress = SilentProgress()
    given = rows([("Yes", "No"), ("Yes", "Yes"), ("None of the above", "a b c d e f")])
    found = decontaminate(given, stage(against), progress=progress)
    assert {columns["contamination"] for columns in found} == {None}
    uncompared, contaminated = progress.notes
    assert uncompared.endswith("test.jsonl: 1 of 2 rows have no text of 5 words or more "
                               "(short_words), and are compared with nothing")  # fmt: skip
    assert contaminated == "decontaminate: 0 of 3 rows are contaminated"
    assert hits(given, stage(against, short_words=1)) == ["test.jsonl:1", "test.jsonl:1", None]


TEMPLATE = (
    "Answer the following multiple choice question. Think step by step, then give one letter "
    "that stands for the answer: A, B, C or D."
)


@pytest.mark.parametrize("asked", [3, 40])
def test_a_template_contaminates_nothing(tmp_path: Path, asked: int) -> None:
    """Its n-grams stand in most rows of a small benchmark, in many of a large one."""
    texts = [f"{TEMPLATE} {' '.join(f'q{n}w{i}' for i in range(14))}" for n in range(asked)]
    against = questions(tmp_path, *texts)
    given = rows([(f"{TEMPLATE} How far is it to the moon?", "A"), (texts[1], "B")])
    found = decontaminate(given, stage(against, min_coverage=0.01))
    assert [columns["contaminated_by"] for columns in found] == [None, "test.jsonl:2"]
    # 24 words of template and 14 of its own: 26 n-grams, 12 of them within the template.
    assert found[1]["shared_ngrams"] == 14


def test_a_text_of_a_template_alone_is_compared_as_a_whole(tmp_path: Path) -> None:
    """Every row has the same system prompt: it is no evidence in a longer text."""
    columns = [{"system": TEMPLATE, "task": f"number {n}"} for n in range(3)]
    given = rows([(f"{TEMPLATE} And now?", "A"), (TEMPLATE, "A")])
    assert hits(given, stage(benchmark(tmp_path, columns))) == [None, "test.jsonl:1"]


def test_common_rows_is_a_bound_on_different_rows_of_one_file(tmp_path: Path) -> None:
    """11 of 22 rows share a text with the bar at 10; equal rows are one; each file is by itself."""
    others = [f"{n} {' '.join(f'x{n}w{i}' for i in range(20))}" for n in range(11)]
    shared = [f"{TWENTY} {n}" for n in range(11)]
    given = [row(f"{TWENTY}?", "yes")]
    assert hits(given, stage(questions(tmp_path, *shared, *others))) == [None]
    assert hits(given, stage(questions(tmp_path, *shared[1:], *others))) == ["test.jsonl:1"]
    assert hits(given, stage(questions(tmp_path, *shared, *others), common_rows=11)) != [None]
    twelve = [*[shared[0]] * 12, *others]
    assert hits(given, stage(questions(tmp_path, *twelve))) == ["test.jsonl:1"]
    one = benchmark(tmp_path, [{"t": t} for t in [*shared[:6], *others]], "one.jsonl")
    other = benchmark(tmp_path, [{"t": t} for t in [*shared[6:], *others]], "other.jsonl")
    assert hits(given, stage(one, other)) != [None]


def test_the_largest_share_is_told_and_of_equals_the_first(tmp_path: Path) -> None:
    """Names decide between files, whatever order they are given in."""
    part = benchmark(tmp_path, [{"t": f"{TWENTY} u v w x y"}], "a.jsonl")
    whole = benchmark(tmp_path, [{"t": "z"}, {"t": TWENTY}], "b.jsonl")
    again = benchmark(tmp_path, [{"t": TWENTY}], "c.jsonl")
    given = [row(TWENTY, "yes")]
    assert hits(given, stage(again, whole, part)) == ["b.jsonl:2"]
    assert hits(given, stage(again, part)) == ["c.jsonl:1"]
    assert hits(given, stage(part)) == ["a.jsonl:1"]


def test_dead_rows_are_left_out(tmp_path: Path) -> None:
    """A row that a stage before has removed is neither looked at nor counted."""
    progress = SilentProgress()
    given = rows([(TWENTY, "a"), (TWENTY, "b")])
    found = decontaminate(
        given, stage(questions(tmp_path, TWENTY)), alive=[False, True], progress=progress
    )
    assert [columns["contaminated_by"] for columns in found] == [None, "test.jsonl:1"]
    assert progress.notes[0] == (
        "decontaminate: 1 of 1 rows are contaminated, by test.jsonl (1 of its 1 rows)"
    )


def test_a_file_that_loses_much_is_told_with_examples(tmp_path: Path) -> None:
    """2 of 5 rows are above the bar of 0.2 and not above 0.4."""
    given = rows([(TWENTY, "a"), ("b", "b"), ("c", "c"), ("d", "d"), ("e", f"so {TWENTY}")])
    against = questions(tmp_path, TWENTY)
    progress = SilentProgress()
    decontaminate(given, stage(against), cuts=[1], progress=progress)
    assert progress.notes[1].splitlines() == [
        "decontaminate: a.jsonl loses 2 of 5 rows (40%) as contaminated, for example",
        f"  a.jsonl:1 overlaps with test.jsonl:1: {EIGHT}",
        f"  a.jsonl:5 overlaps with test.jsonl:1: {EIGHT}",
    ]
    progress = SilentProgress()
    decontaminate(given, stage(against, warn_fraction=0.4), progress=progress)
    assert len(progress.notes) == 1


def test_no_rows_and_no_alive_rows(tmp_path: Path) -> None:
    """Nothing in, nothing out."""
    given = stage(questions(tmp_path, TWENTY))
    assert decontaminate([], given) == []
    assert decontaminate([row(TWENTY, "a")], given, alive=[False])[0]["contamination"] is None


def test_ngram_hashes_are_those_of_the_words_alone() -> None:
    """Equal words have equal hashes wherever they stand; other words or another order do not."""
    hashes, owners = ngram_hashes(tokenize(["a b c d", "x b c d", "c b", "b", "b c b"]), 2)
    assert owners.tolist() == [0, 0, 0, 1, 1, 1, 2, 4, 4]
    ab, bc, cd, xb, _, _, cb, _, _ = hashes.tolist()
    assert hashes.tolist() == [ab, bc, cd, xb, bc, cd, cb, bc, cb]
    assert len({ab, bc, cd, xb, cb}) == 5


def test_the_words_of_an_ngram_that_differ() -> None:
    """Counted within the n-gram alone, whatever stood before it."""
    counts = different_words(tokenize(["a a a b c a", "a b", "c c c"]), 3)
    assert counts.tolist() == [1, 2, 3, 3, 1]


def test_the_ruled_line_of_a_table_is_no_evidence(tmp_path: Path) -> None:
    """Fewer than a third of 13 words differ; what stands beside the line still counts."""
    line = " | ".join(["-" * 3] * 30)
    against = questions(tmp_path, f"{line} {TWENTY}")
    given = rows([(f"Fill this in: {line} please", "no"), (f"{line} {TWENTY}", "no")])
    found = decontaminate(given, stage(against))
    assert [columns["contamination"] for columns in found] == [None, 1.0]
    # All n-grams of the twenty words, and those that have at least the first three of them.
    assert found[1]["shared_ngrams"] == 8 + 10


def test_one_stage_reads_an_edited_benchmark_anew(tmp_path: Path) -> None:
    """A config that runs twice in one process compares with what is there then."""
    given = stage(questions(tmp_path, TWENTY))
    given.require_files()
    before = given.identity()
    assert hits([row(TWENTY, "a")], given) == ["test.jsonl:1"]
    questions(tmp_path, "something else")
    given.require_files()
    assert given.identity() != before
    assert hits([row(TWENTY, "a")], given) == [None]


def test_a_collision_of_hashes_removes_no_row(tmp_path: Path) -> None:
    """An index that takes the row's n-grams for those of the benchmark is not believed."""
    given = stage(questions(tmp_path, TWENTY))
    innocent = row(" ".join(reversed(TWENTY.split())), "yes")
    texts = RowTexts.of(rows_table([innocent]), "both")
    hashes, _ = ngram_hashes(tokenize(texts.texts[:1]), 13)
    own, _ = ngram_hashes(tokenize([TWENTY]), 13)
    both = Postings.of(np.concatenate([hashes, own]), np.zeros(16, np.int64))
    collided = Index(13, both, np.array([16]), given.index.whole, given.index.lengths)
    assert collided.overlaps(tokenize(texts.texts), texts.rows).shares.tolist() == [0.5]
    sharing, _, found = search(texts, [TWENTY], collided, min_coverage=0.3)
    assert found == []
    assert sharing.tolist() == []


def test_the_words_of_unspaced_scripts(tmp_path: Path) -> None:
    """Each character is a word, so 14 of them have two n-grams."""
    text = "东京是日本的首都也是最大城市"
    assert spelled(text) == list(text)
    [columns] = decontaminate([row(f"请问:{text}吗", "是")], stage(questions(tmp_path, text)))
    assert columns["shared_ngrams"] == 2


def test_annotate_needs_no_benchmark(tmp_path: Path) -> None:
    """What was found is in the state; the files may be gone by then."""
    given = stage(questions(tmp_path, TWENTY))
    state: JSON = {
        "rows": [0],
        "contaminated_by": ["t:1"],
        "contamination": [0.5],
        "shared_ngrams": [4],
        "contamination_reason": ["so"],
    }
    (tmp_path / "test.jsonl").unlink()
    shard = Shard("s", rows_table([row("p", "r")]))
    table = asyncio.run(given.annotate(shard, [True], state, Context()))
    assert table.to_pylist()[0]["contaminated_by"] == "t:1"
