"""Long answers are split between sentences, and nothing of them is lost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clear_pipeline.scoring.passages import MAX_PASSAGES, passages, sentences

BT = "```"


@pytest.mark.parametrize(
    "expected",
    [
        ["It rains.", "Is it wet?", "Yes!"],
        ["Dr. Smith paid $3.50 for it.", "It was cheap, e.g. for him."],
        ["J. R. Tolkien wrote it in St. Helens.", "See fig. 3 and no. 7."],
        ["He said no.", "Then he left."],
        ["Really?! she asked.", '"Yes."', "(It was.)"],
        ["1. Boil water.", "2. Add tea."],
        ["Wait ...", "What?"],
        ["\u4eca\u65e5\u306f\u3002", "\u96e8\uff01", "\u300c\u306f\u3044\u3002\u300d"],
    ],
    ids=lambda parts: parts[0],
)
def test_sentences_end_where_a_reader_ends_them(expected: list[str]) -> None:
    """Not at abbreviations, initials, decimals and numbers of a list; CJK needs no space."""
    assert sentences(" ".join(expected)) == expected


def test_lines_end_sentences_unless_the_next_goes_on() -> None:
    """Items of a list and titles are sentences; a wrapped line is none; code is one."""
    code = f"{BT}python\nx = 1\n\nprint(x.y. z)\n{BT}"
    text = f"Tea\n- Boil water\n- Add the leaves\n  and wait\n\n{code}\nDone."
    assert sentences(text) == [
        "Tea", "- Boil water", "- Add the leaves\n  and wait", code, "Done.",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("count", "expected"),
    [(1, [1]), (3, [3]), (4, [2, 2]), (7, [2, 2, 3]), (40, [5] * 8), (41, [5] * 7 + [6])],
)
def test_passages_grow_with_the_answer_and_are_few(count: int, expected: list[int]) -> None:
    """Up to three sentences each, then longer ones, of nearly the same number."""
    text = " ".join(f"This is number {n}." for n in range(count))
    assert [part.sentences for part in passages(text)] == expected


@given(
    st.text(st.characters(exclude_categories=["Cs"])) | st.text("aA.!?\n 1`\u3002\"')", max_size=80)
)
def test_no_text_is_lost(text: str) -> None:
    """Whatever it is: all but white space is in the sentences, and in at most eight passages."""
    whole = "".join(text.split())
    assert "".join("".join(sentences(text)).split()) == whole
    parts = passages(text)
    assert "".join("".join(part.text for part in parts).split()) == whole
    assert 1 <= len(parts) <= MAX_PASSAGES


@pytest.mark.parametrize("mark", [".", "!", "?!", "\u2026"])
def test_a_loop_of_marks_costs_linear_work(mark: str) -> None:
    """Broken models write "!!!!!!" until they are cut: looked at once, not from every mark anew.

    With a million of them the square of it would not end.
    """
    text = "So" + mark * 1_000_000 + "x"
    assert sentences(text) == [text]
