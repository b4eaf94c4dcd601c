"""The dedup stage on rows small enough to judge by eye."""

from __future__ import annotations

import hashlib
import json
import random
from dataclasses import replace
from typing import get_args

import pytest
from pydantic import ValidationError

from clear_pipeline.schema import Message, rows_table
from clear_pipeline.stages.base import Context, DatasetStage, Shard, SilentProgress
from clear_pipeline.stages.dedup import Dedup
from clear_pipeline.stages.dedup.near import Compare
from clear_pipeline.stages.held import surveyed
from dedup_rows import dedup, row, rows

WORDS = [f"word{i}" for i in range(60)]
LONG = " ".join(WORDS)
EDITED = " ".join([*WORDS[:30], "other", *WORDS[31:]])
"""One word of 60 replaced: 51 of 61 shingles are shared, Jaccard 51 / 61."""
TWENTY_WORDS = " ".join(WORDS[:20])
COMPARE = get_args(Compare)
CONTEXT = "The river Elbe rises in the mountains. It flows past Dresden and Hamburg to the sea."


def test_it_is_a_dataset_stage() -> None:
    """The stage keeps the protocol."""
    assert isinstance(Dedup(), DatasetStage)


def test_equal_content_is_an_exact_duplicate() -> None:
    """Rows that differ in white space alone: the second goes, with similarity 1."""
    found = dedup(rows([("What is 2 + 2?", "4"), ("What  is 2 + 2?\n", "4"), ("Other?", "4")]))
    assert found[0] == {
        "duplicate_of": None,
        "duplicate_kind": None,
        "cluster": "a.jsonl:1",
        "similarity": None,
        "conflict": None,
    }
    assert found[1] == {
        "duplicate_of": "a.jsonl:1",
        "duplicate_kind": "exact",
        "cluster": "a.jsonl:1",
        "similarity": 1.0,
        "conflict": None,
    }
    assert set(found[2].values()) == {None}


def test_a_near_duplicate_carries_its_jaccard() -> None:
    """Similarity is the smaller one of the prompts' and the responses' exact Jaccard."""
    found = dedup(rows([("Say it.", LONG), ("Say it.", EDITED)]))
    assert found[1]["duplicate_kind"] == "near"
    assert found[1]["similarity"] == pytest.approx(51 / 61)


def test_case_and_sentence_punctuation_do_not_count() -> None:
    """Texts of equal words are near-duplicates with similarity 1."""
    found = dedup(rows([("Name a river!", "The Elbe."), ("name a river", "the elbe")]))
    assert (found[1]["duplicate_kind"], found[1]["similarity"]) == ("near", 1.0)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (("What is 3 + 4?", "seven"), ("What is 3 - 4?", "seven")),
        (("Name a river.", "The Elbe"), ("Name a town.", "The Elbe")),
        (("Name a river.", "The Elbe"), ("Name a river.", "The Oder")),
        (("Halve it.", ".5"), ("Halve it.", "5")),
        (("Negate.", "return !done"), ("Negate.", "return done")),
        (("Punctuate.", "?"), ("Punctuate.", "!")),
        (("首都はどこですか", "東京"), ("首都はどこですか", "京都")),
    ],
)
def test_in_a_short_text_one_difference_decides(
    first: tuple[str, str], second: tuple[str, str]
) -> None:
    """Another operator, word, mark or character makes another question or answer."""
    assert all(c["duplicate_of"] is None for c in dedup(rows([first, second])))


def test_characters_are_the_words_of_scripts_without_spaces() -> None:
    """One Han character of 60 replaced is a near-duplicate, as with words."""
    text = "".join(chr(0x4E00 + i) for i in range(60))
    found = dedup(rows([("写", text), ("写", text[:30] + "龠" + text[31:])]))
    assert found[1]["similarity"] == pytest.approx(51 / 61)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("{c}\n\nQuestion: Where does it rise?", "{c}\n\nQuestion: Where does it end?"),
        ("{c} Where does it rise?", "{c} Where does it end?"),
        ("Where does it rise? {c}", "Where does it end? {c}"),
        ("Summarise. {c}", "Translate. {c}"),
        ("{c}\nname one town\nAnswer:", "{c}\nname one river\nAnswer:"),
        ("{c} Is it long? Answer yes or no.", "{c} Is it cold? Answer yes or no."),
        ("{c}", "{c} Name a town."),
        ("{c} The river Elbe rises in the mountains.", "{c} Rivers are long."),
        (f"{{c}} Is it {TWENTY_WORDS} Hof?", f"{{c}} Is it {TWENTY_WORDS} Rom?"),
    ],
)
@pytest.mark.parametrize("repeats", [1, 12])
def test_questions_on_one_context_are_never_duplicates(one: str, other: str, repeats: int) -> None:
    """However long the shared context is, and wherever the question stands."""
    context = " ".join([CONTEXT, LONG.capitalize() + ".", *["Rivers are long."] * repeats])
    pairs = [(one.format(c=context), "yes"), (other.format(c=context), "yes")]
    assert all(c["duplicate_of"] is None for c in dedup(rows(pairs)))


def test_a_question_in_another_message_counts() -> None:
    """The context may be a system message of its own."""
    asked = [
        replace(
            row("", "yes", line=i),
            messages=(Message("system", f"{CONTEXT} {LONG}"), Message("user", question)),
        )
        for i, question in enumerate(["Is it long?", "Is it cold?"])
    ]
    assert all(c["duplicate_of"] is None for c in dedup(asked))


def test_a_long_answer_tells_that_the_same_was_asked() -> None:
    """Where prompts differ in a word of a sentence, 44 words decide; a short answer does not."""
    one = f"{CONTEXT} {LONG.capitalize()}. It is a long and well known list of all words."
    other = one.replace("well known", "famous")
    told, short = " ".join(WORDS[:44]), " ".join(WORDS[:43])
    assert dedup(rows([(one, short), (other, short)]))[1]["duplicate_of"] is None
    found = dedup(rows([(one, told), (other, told)]))
    assert found[1]["duplicate_of"] == "a.jsonl:1"
    assert dedup(rows([(one, told), (other, told)]), Dedup(compare="prompt"))[1]["cluster"] is None


def test_an_edited_context_with_the_same_question_is_a_duplicate() -> None:
    """What remains beside the shared question is a near-duplicate by itself."""
    pairs = [(f"{text}\n\nWhat is it?", "A list.") for text in (LONG, EDITED)]
    assert dedup(rows(pairs))[1]["duplicate_kind"] == "near"


def test_a_template_is_no_evidence() -> None:
    """Shingles that many rows share are left out, so that only the rest is compared."""
    pairs = [("Write a letter.", f"{LONG} {chr(97 + i) * 3}") for i in range(11)]
    assert all(c["duplicate_of"] is None for c in dedup(rows(pairs)))
    assert all(c["cluster"] is not None for c in dedup(rows(pairs[:10])))


def test_a_template_counts_per_file() -> None:
    """1 % is of a file's rows: a shingle in 12 of 1,300 rows is evidence there."""
    other = [(f"Question number {i}?", f"answer number {i}") for i in range(1288)]
    near = [("Write a letter.", f"{LONG} {chr(97 + i) * 3}") for i in range(12)]
    found = dedup(rows(near + other))
    assert [c["duplicate_of"] for c in found[1:12]] == ["a.jsonl:1"] * 11
    assert all(c["duplicate_of"] is None for c in found[12:])


def test_a_chain_reaches_its_keeper_with_its_weakest_pair() -> None:
    """A like B like C: C goes for A with the smaller of the two similarities."""
    a, b, c = (" ".join([*WORDS[:60], *(f"end{i}" for i in range(n))]) for n in (0, 8, 18))
    found = dedup(rows([("Say it.", a), ("Say it.", b), ("Say it.", c)]))
    assert [columns["duplicate_of"] for columns in found] == [None, "a.jsonl:1", "a.jsonl:1"]
    assert found[1]["similarity"] == pytest.approx(56 / 64)
    assert found[2]["similarity"] == pytest.approx(64 / 74)


def test_keep_longest_keeps_the_longest() -> None:
    """The row with most characters stays, wherever it stands."""
    longer = " ".join([*WORDS, "end"])
    pairs = [("Say it.", LONG), ("Say it.", longer), ("Say it.", LONG)]
    found = dedup(rows(pairs), Dedup(keep="longest"))
    assert [c["duplicate_of"] for c in found] == ["a.jsonl:2", None, "a.jsonl:2"]
    assert [c["duplicate_kind"] for c in found] == ["near", None, "near"]


def test_prompts_alone_may_be_compared() -> None:
    """One answer per prompt stays, and rows with another one are in conflict with it."""
    pairs = [("Name a river.", "The Elbe"), ("Name a river!", "The Oder"), ("Name a town.", "Hof")]
    found = dedup(rows(pairs), Dedup(compare="prompt"))
    assert [c["duplicate_of"] for c in found] == [None, "a.jsonl:1", None]
    assert [c["duplicate_kind"] for c in found] == [None, "near", None]
    assert [c["conflict"] for c in found] == ["a.jsonl:1", "a.jsonl:1", None]


def test_responses_alone_may_be_compared() -> None:
    """Rows that answer alike are duplicates, whatever they were asked."""
    found = dedup(rows([("One?", LONG), ("Two?", EDITED)]), Dedup(compare="response"))
    assert found[1]["similarity"] == pytest.approx(51 / 61)
    assert dedup(rows([("One?", LONG), ("Two?", EDITED)]))[1]["cluster"] is None


def test_the_same_prompt_with_different_answers_is_a_conflict() -> None:
    """Named by the first such row, for all of them; near answers are no conflict."""
    progress = SilentProgress()
    pairs = [
        ("Is it?", "yes"),
        ("Say it.", LONG),
        ("is it", "no"),
        ("Say it.", EDITED),
        ("Is it?", "Yes."),
        ("", "a text without a prompt"),
        ("", "another one"),
    ]
    found = dedup(rows(pairs), progress=progress)
    first, second = "a.jsonl:1", "a.jsonl:2"
    assert [c["conflict"] for c in found] == [first, None, first, None, first, None, None]
    assert [c["duplicate_of"] for c in found] == [None, None, None, second, first, None, None]
    assert any(
        note.startswith("dedup: 1 prompts have different answers (3 rows,")
        for note in progress.notes
    )


def test_rows_of_valued_files_stay() -> None:
    """The first pattern that fits counts, before the input order and before the length."""
    examples = [
        row("Say it.", LONG + " " + LONG, file="a.jsonl"),
        row("Say it.", LONG + " " + LONG, file="gold/b.jsonl"),
        row("Say it.", LONG + " " + LONG + " end", file="web/c.jsonl"),
    ]
    stage = Dedup(priority=("gold/*", "web/*"), keep="longest")
    found = dedup(examples, stage, cuts=[1, 2])
    assert [c["duplicate_of"] for c in found] == ["gold/b.jsonl:1", None, "gold/b.jsonl:1"]
    found = dedup([examples[0], examples[2]], stage, cuts=[1])
    assert [c["duplicate_of"] for c in found] == ["web/c.jsonl:1", None]


def test_characters_find_what_words_do_not() -> None:
    """One letter of 60 in a single word: as characters 51 of 61 shingles are shared."""
    letters = "".join(chr(97 + i % 26) + str(i % 10) for i in range(30))
    pairs = [("Spell it.", letters), ("Spell it.", letters[:30] + "é" + letters[31:])]
    assert dedup(rows(pairs))[1]["cluster"] is None
    found = dedup(rows(pairs), Dedup(unit="character"))
    assert found[1]["similarity"] == pytest.approx(51 / 61)


def test_method_exact_finds_equal_content_only() -> None:
    """No near-duplicate goes."""
    pairs = [("Say it.", LONG), ("Say it.", EDITED), ("Say it.", LONG)]
    found = dedup(rows(pairs), Dedup(method="exact"))
    assert [c["duplicate_of"] for c in found] == [None, None, "a.jsonl:1"]


def test_rows_of_other_files_are_compared_too() -> None:
    """The first row in the order of the files stays."""
    examples = [row("Say it.", LONG, file="a.jsonl"), row("Say it.", EDITED, file="b.jsonl")]
    assert dedup(examples, cuts=[1])[1]["duplicate_of"] == "a.jsonl:1"


def test_images_are_not_compared_by_words() -> None:
    """Rows that differ in a picture alone are different, whatever else is equal."""
    examples = [
        replace(row(f"{LONG} picture{i}.png", "A cat.", line=i), unscorable="image")
        for i in range(2)
    ]
    assert all(c["duplicate_of"] is None for c in dedup(examples))


def test_dead_rows_take_no_part() -> None:
    """A row that is out already gets null and removes no other."""
    stage, ctx = Dedup(), Context()
    shard = Shard("s", rows_table(rows([("Hi", "Hello"), ("Hi", "Hello"), ("Hi", "Hello")])))
    [state] = surveyed(stage, [(shard, [False, True, True])], ctx)
    assert state == {
        "rows": [1, 2],
        "duplicate_of": [None, "a.jsonl:2"],
        "duplicate_kind": [None, "exact"],
        "cluster": ["a.jsonl:2", "a.jsonl:2"],
        "similarity": [None, 1.0],
        "conflict": [None, None],
    }


def test_what_is_found_moves_only_with_the_version() -> None:
    """Every column of 600 rows is, to the bit, what version 3 of the stage has always found.

    Where this fails, other rows may be left out at equal settings: bump the stage's version.
    """
    draw = random.Random(7)
    letters = "aeiou\u00e9\u0142\u65e5" + "bdklmnrst" * 2
    words = ["".join(draw.choices(letters, k=draw.randint(1, 19))) for _ in range(400)]
    pairs: list[tuple[str, str]] = []
    for _ in range(600):
        prompt, response = (draw.choices(words, k=draw.randint(4, 60)) for _ in "pr")
        if pairs and draw.random() < 0.6:
            prompt, response = (side.split() for side in draw.choice(pairs[-40:]))
            for side in draw.sample([prompt, response], draw.randint(0, 2)):
                side[draw.randrange(len(side))] = draw.choice(words) + draw.choice(
                    [".", "?\n", "!="]
                )
        pairs.append((" ".join(prompt), " ".join(response)))
    examples = rows(pairs[:350]) + rows(pairs[350:], file="b.jsonl")
    found = [dedup(examples, Dedup(compare=each), cuts=[90, 350]) for each in COMPARE]
    removed = [sum(r["duplicate_of"] is not None for r in each) for each in found]
    conflicting = [sum(r["conflict"] is not None for r in each) for each in found]
    digest = hashlib.sha256(json.dumps(found).encode()).hexdigest()[:16]
    told = (Dedup.version, removed, conflicting, digest)
    assert told == (3, [236, 258, 184], [129, 83, 85], "04a56de98ff825b4")


def test_a_state_moves_only_with_its_own_rows() -> None:
    """New duplicates in one file leave the state of another as it was, and it is plain JSON."""
    stage, ctx = Dedup(), Context()
    a = Shard("a", rows_table(rows([("Hi", "Hello"), ("Hi", "Hello"), ("Bye", "Ciao")])))
    b = Shard("b", rows_table(rows([("One", "1"), ("Two", "2")], file="b.jsonl")))
    changed = Shard("c", rows_table(rows([("One", "1"), ("One", "1")], file="b.jsonl")))
    states = [
        surveyed(stage, [(s, [True] * s.rows) for s in (a, other)], ctx) for other in (b, changed)
    ]
    assert states[0][0] == states[1][0] == json.loads(json.dumps(states[0][0]))
    assert states[0][1] != states[1][1]


def test_no_rows_are_no_error() -> None:
    """Empty shards and no shards give empty columns."""
    assert dedup([]) == []
    assert surveyed(Dedup(), [], Context()) == []


def test_a_file_that_loses_much_is_reported_with_examples() -> None:
    """The note names file, count and share, and at most three pairs by id and text."""
    progress = SilentProgress()
    examples = rows([("Hi", "Hello")] * 5 + [("Bye", "Ciao")]) + rows(
        [("One", "1"), ("Two", "2"), ("Three", "3"), ("Four", "4"), ("Hi", "Hello")],
        file="b.jsonl",
    )
    dedup(examples, cuts=[6], progress=progress)
    short, note = progress.notes
    assert short.startswith("dedup: 11 rows have a text of fewer than 5 words")
    assert note.startswith("dedup: a.jsonl loses 4 of 6 rows (67%)")
    assert note.count("repeats a.jsonl:1") == 3
    assert "'Hi' -> 'Hello'" in note


def test_settings_that_could_find_nothing_are_refused() -> None:
    """Too few permutations for the threshold, and unknown keys."""
    with pytest.raises(ValidationError, match="permutations"):
        Dedup(threshold=0.5, permutations=2)
    with pytest.raises(ValidationError, match="no embeddings"):
        Dedup(method="semantic", against=("kept.index.parquet",))
    with pytest.raises(ValidationError, match="treshold"):
        Dedup.model_validate({"treshold": 0.5})
