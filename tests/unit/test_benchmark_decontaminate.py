"""The benchmark of decontaminate: what it plants, and the table that it prints."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from benchmarks import decontaminate
from decontaminate_rows import questions, stage

TEXT = " ".join(f"w{n}" for n in range(20))


@pytest.mark.parametrize("edits", [0, 3])
def test_so_many_words_are_replaced_by_words_of_other_texts(edits: int) -> None:
    """In each text, at as many places."""
    other = " ".join(f"x{n}" for n in range(200))
    prompts = [
        turns[0]["content"].split()
        for turns in decontaminate.edited([TEXT, other], edits).table["messages"].to_pylist()
    ]
    changed = [
        sum(new != old for new, old in zip(words, text.split(), strict=True))
        for words, text in zip(prompts, (TEXT, other), strict=True)
    ]
    assert changed == [edits, edits]


def test_shares_are_those_of_all_rows(tmp_path: Path) -> None:
    """0 for a row that shares nothing."""
    given = stage(questions(tmp_path, TEXT), min_coverage=1e-9)
    shard = decontaminate.edited([TEXT, "something else"], 0)
    assert decontaminate.shares(given, [shard]).tolist() == [1.0, 0.0]


def test_the_table_counts_rows_by_share(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One of two rows has half of the eight n-grams."""
    data = tmp_path / "rows.jsonl"
    half = " ".join(TEXT.split()[:16])
    rows = [{"prompt": half, "completion": "yes"}, {"prompt": "no", "completion": "no"}]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    against = str(questions(tmp_path, TEXT))
    monkeypatch.setattr(sys, "argv", ["x", str(data), "--against", against, "--show", "1"])
    decontaminate.main()
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["rows.jsonl", "1", "1", "1", "1", "1", "1", "0", "0"] in lines
    assert ["test.jsonl:1:", "4", "of", "8", "13-grams,", "first"] in [line[:6] for line in lines]
    assert ["1", "texts,", "0", "words", "replaced", *["1"] * 8] in lines
