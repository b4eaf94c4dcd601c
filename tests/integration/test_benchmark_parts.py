"""Small runs of the benchmarks that choose the parts and weights of the confidence."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from clear_pipeline.prompts.reflection import WORDINGS
from stub_server import StubServer

ROOT = Path(__file__).parents[2]


def run(module: str, *arguments: object) -> str:
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{module}", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_parts_are_collected_once_and_hold_no_text(tmp_path: Path) -> None:
    """One line of numbers per row of the split; a second run asks no question again."""
    data = tmp_path / "sums.jsonl"
    rows = [
        {"prompt": f"{n} + 1?", "completion": str(n + 1 + (n % 2)), "clean_completion": str(n + 1)}
        | {"label": "bad" if n % 2 else "good", "split": "report" if n > 3 else "tune"}
        for n in range(6)
    ]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    out = tmp_path / "parts.jsonl"
    with StubServer() as server:
        given = [
            data,
            "--rows",
            4,
            "--draws",
            2,
            "--forms",
            "reasoned",
            "plain",
            "--base-url",
            server.url,
            "--model",
            "stub",
        ]
        files = ["--cache", tmp_path / "answers.sqlite", "--out", out]
        run("parts", *given, *files)
        asked, first = len(server.bodies), lines(out)
        run("parts", *given, *files)
        # Each process learns anew, by one question, that the server takes no schema.
        assert len(server.bodies) <= asked + 1
    assert lines(out) == first
    assert [(row["id"], row["bad"]) for row in first] == [
        (f"sums.jsonl:{n + 1}", n % 2 == 1) for n in range(4)
    ]
    for row in first:
        assert row.keys() >= {*WORDINGS, "reasoned_exact", "reasoned_f1", "plain_exact", "plain_f1"}
        numbers = [value for name, value in row.items() if name not in ("set", "id")]
        assert not any(isinstance(value, str) for value in numbers)


def test_a_part_that_is_high_for_bad_rows_gets_a_minus(tmp_path: Path) -> None:
    """Two parts that see half of the rows each, one of them upside down, are perfect together."""
    path = tmp_path / "parts.jsonl"
    with path.open("w") as out:
        for name in ("a", "b"):
            for n in range(20):
                bad, seen = n % 2 == 1, n % 4 < 2
                straight = (0.1 if bad else 0.9) if seen else 0.5
                upside = 0.5 if seen else (0.9 if bad else 0.1)
                row = {"set": name, "id": str(n), "bad": bad, "length": 5}
                out.write(json.dumps(row | {"straight": straight, "upside": upside}) + "\n")
    results = tmp_path / "results.md"
    printed = run("ensembles", path, "--title", "Planted", "--results", results)
    assert "| length of the response | 0.500 [0.50, 0.50] | 0.500 [0.50, 0.50] | 0.500 |" in printed
    assert "| straight | 0.875 " in printed
    assert "| upside | 0.125 " in printed
    assert "| straight - upside | 1.000 [1.00, 1.00] | 1.000 [1.00, 1.00] | 1.000 |" in printed
    assert "| grown to 2 | 1.000 [1.00, 1.00] | 1.000 [1.00, 1.00] | 1.000 |" in printed
    assert results.read_text() == printed
