"""Words and texts of the report, by example."""

from __future__ import annotations

import pytest

from clear_pipeline.report.diff import word_diff
from clear_pipeline.report.text import visible
from clear_pipeline.report.words import COLOURS, FATES, reason_kind
from clear_pipeline.schema import Fate


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
