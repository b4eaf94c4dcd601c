"""The benchmark of duplicates, in small: workers are processes, results are kept."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.dedup_files import Order, write
from benchmarks.dedup_report import read_measurements

ROOT = Path(__file__).parents[2]
ROWS = 2000


def run(*arguments: object) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.dedup", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def planted(rows: int) -> Iterator[tuple[str, int]]:
    """Texts of random words; a third of them are followed by a copy with words replaced."""
    drawn = random.Random(0)
    known = [f"word{n}" for n in range(500)]
    for number in range(rows // 4):
        words = drawn.choices(known, k=drawn.randint(20, 80))
        yield " ".join(words), number
        yield " ".join(drawn.choices(known, k=30)), rows + number
        for rate in (0.01, 0.05):
            copy = [drawn.choice(known) if drawn.random() < rate else word for word in words]
            yield " ".join(copy), number


def test_ours_beside_datasketch_and_again(tmp_path: Path) -> None:
    """Every row that ours leaves out is right, few are missed; what is measured is not repeated."""
    cache, results = tmp_path / "cache", tmp_path / "results.jsonl"
    cache.mkdir()
    write(cache / f"{Order(ROWS, 0).name}.jsonl", planted(ROWS))
    given = ["measure", "--sizes", ROWS, "--giants", 0, ROWS, "--systems", "ours", "datasketch"]
    files = ["--shared", tmp_path, "--cache", cache, "--results", results]
    assert len(run(*given, "--runs", 1, *files).splitlines()) == 2
    ours, datasketch = read_measurements(results)
    assert (ours.system, datasketch.system) == ("ours", "datasketch")
    assert (ours.error, datasketch.error) == ("", "")
    assert ours.removed is not None
    assert ours.removed > 500
    assert ours.precision == 1.0
    assert ours.recall is not None
    assert ours.recall >= 0.97
    assert sum(ours.pairs[16:]) >= 500
    assert ours.pairs == datasketch.pairs
    for each in (ours, datasketch):
        assert each.seconds is not None
        assert each.cpu_seconds is not None
        assert each.peak_mib is not None
        assert each.peak_mib > 20

    assert run(*given, "--runs", 1, *files) == ""
    out = tmp_path / "dedup.md"
    assert run("report", results, "--out", out) == out.read_text()
    assert "| ours | " in out.read_text()


def test_share_of_a_file(tmp_path: Path) -> None:
    """One of three rows repeats another; it is shown beside the one that stays."""
    data = tmp_path / "rows.jsonl"
    lines = ['{"prompt": "Two?", "completion": "2"}', '{"prompt": "One?", "completion": "1"}']
    data.write_text("\n".join([*lines, lines[0]]) + "\n")
    printed = run("share", data, "--show", 5)
    assert "rows.jsonl: 1 of 3 rows (33.33%): 1 exact, 0 near" in printed
    assert "rows.jsonl:3 -> rows.jsonl:1, similarity 1.000" in printed
