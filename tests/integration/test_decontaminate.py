"""Benchmarks kept out of a run, on the command line: what is asked, told, written and run again."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from clear_pipeline.cli import app
from decontaminate_rows import questions
from stub_server import StubServer

ORCHARD = (
    "An orchard has twelve rows of nine trees, and every tree gives seven baskets of pears. "
    "How many baskets does the whole orchard give in a year with two harvests?"
)
LIGHTHOUSE = (
    "A lighthouse turns once in eighteen seconds and is lit from dusk until dawn for eleven hours. "
    "How many times does its beam pass over the same rock in one night?"
)
PAIRS = [
    ("Name a pear.", "Conference."),
    (f"Please solve this. {ORCHARD}", "1,512 baskets."),
    ("What is a harvest?", "The gathering of ripe crops."),
    ("Why do lighthouses turn?", "So that ships tell them apart by their rhythm."),
]


def typed(*words: str | Path) -> Result:
    """Type a command; wide, so that no line is folded."""
    return CliRunner().invoke(app, [*map(str, words)], env={"COLUMNS": "300"})


@pytest.fixture(scope="module")
def server() -> Iterator[StubServer]:
    with StubServer() as running:
        yield running


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    lines = (json.dumps({"prompt": p, "completion": c}) for p, c in PAIRS)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def run(server: StubServer, data: Path, against: Path) -> Result:
    """A run whose stages ask the server."""
    model = ["--base-url", server.url, "--model", "stub", "--stages", "dedup,score,filter"]
    words = ["--out", str(data.parent / "run"), "--decontaminate", str(against)]
    result = typed("run", data, *words, *model, "--yes")
    assert result.exit_code == 0, result.output
    return result


def test_a_contaminated_row_is_not_asked_about_and_is_told_everywhere(
    server: StubServer, data: Path
) -> None:
    """Run, rows, explain, removed rows, card and report name the row of the benchmark."""
    out, before = data.parent / "run", len(server.bodies)
    result = run(server, data, questions(data.parent / "evals", LIGHTHOUSE, ORCHARD))
    assert "1 of 4 rows are contaminated, by test.jsonl (1 of its 2 rows)" in result.stderr
    asked = [json.dumps(body) for body in server.bodies[before:]]
    assert asked
    assert not any("orchard" in body for body in asked)
    said = 'contaminated by test.jsonl:2: 18 of 18 13-grams, first "an orchard has twelve'
    assert said in typed("rows", out, "--fate", "contaminated").stdout
    told = typed("explain", out, "rows.jsonl:2").stdout
    assert said in told
    assert "it stays if test.jsonl:2 is taken out of the benchmark" in told
    removed = (out / "export" / "removed.jsonl").read_text(encoding="utf-8")
    assert removed.count("contaminated by test.jsonl:2") == 1
    assert "test.jsonl:2" in (out / "report.html").read_text(encoding="utf-8")
    card = (out / "DATASET_CARD.md").read_text(encoding="utf-8")
    assert "| contaminated | 1 | 25.0% |" in card
    assert str(data.parent) not in card
    status = json.loads(typed("status", out, "--json").stdout)
    assert status["fates"]["contaminated"] == 1


def test_an_edited_benchmark_reruns_its_stage_and_asks_only_about_rows_that_come_back(
    server: StubServer, data: Path
) -> None:
    """The stage says why; an edit that hits the same rows reruns nothing after it."""
    evals = data.parent / "evals"
    run(server, data, questions(evals, ORCHARD))
    asked = len(server.bodies)
    same = run(server, data, questions(evals, ORCHARD))
    assert "decontaminate: up to date" in same.stderr
    more = run(server, data, questions(evals, ORCHARD, LIGHTHOUSE))
    assert "decontaminate: changed against: test.jsonl: " in more.stderr
    for kind in ("dedup", "score", "filter"):
        assert f"{kind}: up to date" in more.stderr
    assert len(server.bodies) == asked
    back = run(server, data, questions(evals, LIGHTHOUSE))
    assert "0 of 4 rows are contaminated" in back.stderr
    new = [json.dumps(body) for body in server.bodies[asked:]]
    assert new
    assert all("orchard" in body for body in new)


def test_the_estimate_leaves_contaminated_rows_out(server: StubServer, data: Path) -> None:
    """Three of four rows are left to ask about."""
    against = questions(data.parent / "evals", ORCHARD)
    words = ["--decontaminate", str(against), "--stages", "score,filter", "--json"]
    result = typed("estimate", data, "--base-url", server.url, "--model", "stub", *words)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["rows"] == 3


def test_a_bad_benchmark_is_told_before_anything_is_read(data: Path) -> None:
    """Exit code 2, one line, no run directory."""
    out = data.parent / "run"
    words = ["run", data, "--out", out, "--stages", "dedup", "--decontaminate", "none.jsonl"]
    command = [sys.executable, "-m", "clear_pipeline", *map(str, words)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert result.returncode == 2
    assert "none.jsonl: no such file or directory; give benchmark files of" in result.stderr
    assert result.stderr.count("\n") == 1
    assert not out.exists()


def test_a_partial_overlap_says_which_setting_would_keep_the_row(data: Path) -> None:
    """The first 21 of 30 words are 9 of 18 n-grams."""
    out, part = data.parent / "run", " ".join(ORCHARD.split()[:21])
    rows = ({"prompt": prompt, "completion": "?"} for prompt in (part, "Name a pear."))
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    against = questions(data.parent / "evals", ORCHARD)
    words = ["--decontaminate", str(against), "--stages", "decontaminate"]
    assert typed("run", data, "--out", out, *words).exit_code == 0
    told = typed("explain", out, "rows.jsonl:1").stdout
    assert "contaminated by test.jsonl:1: 9 of 18 13-grams" in told
    assert "a min_coverage above 0.500: --set stages.decontaminate.min_coverage=..." in told
    higher = ["--set", "decontaminate.min_coverage=0.51"]
    assert typed("run", data, "--out", out, *words, *higher).exit_code == 0
    row = json.loads(typed("explain", out, "rows.jsonl:1", "--json").stdout)["row"]
    assert (row["fate"], row["contamination"]) == ("kept", 0.5)


def test_stages_and_settings_alone_are_enough(data: Path) -> None:
    """`--stages` and `--set` do what the option does, with several files and other settings."""
    folder = data.parent / "evals"
    questions(folder, ORCHARD)
    questions(folder / "more", "Name a pear.", LIGHTHOUSE)
    settings = [f"decontaminate.against=[{folder}]", "decontaminate.short_words=3"]
    chosen = [word for setting in settings for word in ("--set", setting)]
    stages = ["--stages", "load,decontaminate,dedup"]
    result = typed("run", data, "--out", data.parent / "run", *stages, *chosen)
    assert result.exit_code == 0, result.output
    rows = json.loads(typed("rows", data.parent / "run", "--fate", "contaminated", "--json").stdout)
    assert [row["reason"].partition(",")[0] for row in rows] == [
        'contaminated by evals/more/test.jsonl:1: word for word "name a pear"',
        "contaminated by evals/test.jsonl:1: 18 of 18 13-grams",
    ]
