"""Malformed input: every kind gets its reason, and no good row is lost to it."""

from __future__ import annotations

from pathlib import Path

import pytest

from malformed import CASES, Case, load, markdown

DOCS = Path(__file__).parents[2] / "docs" / "formats.md"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.what)
def test_malformed_input_gets_its_reason_and_harms_nothing_else(case: Case, tmp_path: Path) -> None:
    """The bad row or file is named with its reason; every good row of the file is loaded."""
    got = load(case, tmp_path)

    assert tuple(got.lines) == case.lines
    outcome, reason = got.reasons[-1]
    assert outcome == case.outcome
    assert reason.startswith(case.reason)
    assert len(got.reasons) == (2 if case.what == "JSON array that is cut off" else 1)


def test_the_documented_table_is_what_happens() -> None:
    """docs/formats.md holds the table that `python tests/malformed.py` prints."""
    assert markdown() in DOCS.read_text(encoding="utf-8")
