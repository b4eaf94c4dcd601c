"""Words and texts of the report, by example."""

from __future__ import annotations

import asyncio
import math

import pytest

from clear_pipeline.llm.base import ChatRequest, Choice, Token
from clear_pipeline.llm.scripted import ScriptedChat
from clear_pipeline.report.diff import word_diff
from clear_pipeline.report.text import visible
from clear_pipeline.report.words import COLOURS, FATES, PARTS, reason_kind
from clear_pipeline.schema import Example, Fate, Message
from clear_pipeline.scoring.preference import OneToken, prefer


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("confidence 0.312 < 0.640 (quantile 0.3)", "confidence … < … (quantile …)"),
        ("duplicate of a/b.jsonl:12 (near, similarity 0.91)",
         "duplicate of … (near, similarity …)"),
        ("quarantined: unknown role 'narrator'", "quarantined: unknown role …"),
        ("unscored: outage: no answer", "unscored: outage: no answer"),
        ("not valid utf8 at byte 17", "not valid utf8 at byte …"),
    ],
)  # fmt: skip
def test_reasons_of_a_kind_read_alike(reason: str, kind: str) -> None:
    """What differs from row to row gives way, what names the kind stays."""
    assert reason_kind(reason) == kind


def test_diff_marks_the_changed_word() -> None:
    """One wrong word is marked on both sides, and nothing else."""
    before, after = word_diff("The capital is Sydney.", "The capital is Canberra.")
    assert [s.text for s in before if s.changed] == ["Sydney"]
    assert [s.text for s in after if s.changed] == ["Canberra"]


def test_diff_of_unrelated_texts_is_no_confetti() -> None:
    """Texts that share only a little are shown as wholly different."""
    before, after = word_diff("I cannot help with that.", "x = [n ** 2 for n in range(10)]")
    assert [s.changed for s in before + after] == [True, True]


def test_unseen_characters_become_escapes() -> None:
    """An ANSI escape, a direction override and a lone surrogate are spelled out; a joiner stays."""
    assert visible("\x1b[31m \u202e \ud800 a\u200d") == r"\x1b[31m \u202e \ud800 " + "a\u200d"


def test_every_fate_has_words_and_a_colour() -> None:
    """A new fate cannot be forgotten."""
    assert set(FATES) == set(COLOURS) == set(Fate)
    assert len(set(COLOURS.values())) == len(Fate)


def test_orders_of_the_judge_are_named_as_judged() -> None:
    """A judge that takes whatever stands first prefers the candidate where it is shown first."""

    def first_place(request: ChatRequest, _: int) -> Choice:
        top = (("A", math.log(0.9)), ("B", math.log(0.1)))
        return Choice("A", "length", (Token(*top[0], top),))

    example = Example(
        id="x:1",
        file="x",
        line=1,
        format="openai",
        messages=(Message("user", "2 + 2?"),),
        target=Message("assistant", "five"),
        original="{}",
    )
    found = asyncio.run(prefer(ScriptedChat(first_place), example, "four", form=OneToken()))
    columns = {"preference_first": found.first, "preference_second": found.second}
    labels = {PARTS[name].label: order.preference for name, order in columns.items()}
    assert labels == {
        "… original shown first": pytest.approx(0.1),
        "… candidate shown first": pytest.approx(0.9),
    }
