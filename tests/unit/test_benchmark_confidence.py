"""The tables of the comparison with the peers, from planted results."""

from __future__ import annotations

import asyncio
from argparse import ArgumentTypeError
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.confidence import alternating, in_turn, part_of_all
from benchmarks.confidence_report import pair, report
from benchmarks.peers import worker
from benchmarks.rectify import Case
from benchmarks.results_file import Result, ResultsFile, read_results
from benchmarks.systems import SYSTEMS, Endpoint
from clear_pipeline.errors import UsageError
from clear_pipeline.schema import Example, Message


def result(system: str, row: int, score: float | None, *, tokens: int = 0) -> Result:
    """Rows 1 and 2 are bad, the others good."""
    error = "no" if score is None else None
    return Result(
        system, "set", f"set:{row}", "m", "report", row <= 2, score, error,
        1, tokens, tokens // 2, 1, 0.5,
    )  # fmt: skip


def results(system: str, *scores: float | None, tokens: int = 0) -> list[Result]:
    return [result(system, row, score, tokens=tokens) for row, score in enumerate(scores, 1)]


def test_a_report_shows_auroc_by_hand() -> None:
    """Of 2 x 2 pairs, 3 are in order for `fast` and 2 for `tlm`: 0.75 and 0.50, apart by 0.25."""
    lines = report(
        results("fast", 0.1, 0.5, 0.4, 0.9, tokens=99)
        + results("tlm", 0.1, 0.9, 0.5, 0.6, tokens=399)
    )
    lines = lines[lines.index("### set: 4 rows, 2 bad") :]
    fast = next(line for line in lines if line.startswith("| fast | 0.750 "))
    assert fast.endswith("| 0 of 4 | 99.0 | 49.0 | 1.0 | 1.0 | 0.50 |")
    assert any(line.startswith("| tlm | 0.500 ") for line in lines)
    difference = next(line for line in lines if line.startswith("| fast | tlm | +0.250 "))
    # (99 + 1) / (399 + 1), and without the cached half: 51 / 201.
    assert difference.endswith("| 0.25 | 0.25 |")


def test_the_mean_over_sets_counts_each_set_alike() -> None:
    """0.75 on one set and 1 on a set of half the rows: 0.875; tokens likewise, (100 + 400) / 2."""
    large = results("fast", 0.1, 0.5, 0.4, 0.9, tokens=99)
    small = [
        replace(result("fast", row, score, tokens=399), set="other")
        for row, score in ((1, 0.1), (3, 0.9))
    ]
    (line,) = [line for line in report([*large, *small]) if line.startswith("| fast | 0.750")][:1]
    assert "| 1.000 [1.00, 1.00] | 0.875 [" in line
    assert line.endswith("| 250 | 124 | 0.5 |")


def test_rows_count_only_where_every_system_has_a_score() -> None:
    """A row that one system left unscored is in no figure of the set, but in its costs."""
    found = {
        "fast": results("fast", 0.1, 0.2, 0.8, 0.9),
        "tlm": results("tlm", None, 0.5, 0.6, 0.4),
    }
    paired = pair(found)
    assert paired.bad.tolist() == [True, False, False]
    assert paired.scores["fast"].tolist() == [0.2, 0.8, 0.9]
    assert "### set: 3 rows, 1 bad" in report([*found["fast"], *found["tlm"]])


def test_a_trivial_score_gets_its_better_end() -> None:
    """Bad responses that are the longest are found by length as surely as the shortest."""
    paired = pair({"length": results("length", 90, 80, 20, 10)})
    assert paired.scores["length"].tolist() == [-90, -80, -20, -10]


def test_a_report_of_a_run_that_has_just_begun_shows_what_is_there() -> None:
    """Rows of one kind have costs, but no AUROC."""
    lines = report(results("fast", 0.1))
    assert "| fast | - | - | 0 of 1 | 0.0 | 0.0 | 1.0 | 1.0 | 0.50 |" in lines
    assert lines[-1].startswith("No set has bad and good rows")


@pytest.fixture
def file(tmp_path: Path) -> Callable[..., Path]:
    def write(name: str, *lines: Result) -> Path:
        results_file = ResultsFile(tmp_path / name)
        for line in lines:
            results_file.add(line)
        results_file.close()
        return tmp_path / name

    return write


def test_results_of_two_models_are_no_comparison(file: Callable[..., Path]) -> None:
    """Neither one file nor several may mix models or splits."""
    (row,) = results("fast", 0.1)
    first, second = file("a", row), file("b", replace(row, model="other"))
    with pytest.raises(UsageError, match="these are of m, split report; other, split report"):
        read_results(first, second)


def test_several_files_make_one_report(file: Callable[..., Path]) -> None:
    """Systems that were measured apart are compared on their common rows."""
    first = file("a", *results("fast", 0.1, 0.5, 0.4, 0.9))
    second = file("b", *results("best", 0.1, 0.2, 0.4, 0.9))
    lines = report(read_results(first, second))
    assert any(line.startswith("| fast | best | -0.250 ") for line in lines)


def test_a_system_with_fewer_rows_stands_apart() -> None:
    """It takes no row from the others, and is shown on its own beside the best known.

    Of all four rows `fast` has three of four pairs in order; of the two that uqlm was asked about,
    its only one. `length`, which costs nothing, has more rows and decides nothing.
    """
    lines = report(
        results("fast", 0.5, 0.1, 0.4, 0.9)
        + results("tlm", 0.1, 0.2, 0.3, 0.9)
        + results("rating", 0.1, 0.2, 0.3, 0.9)
        + results("length", 1, 2, 3, 4, 5, 6, 7, 8)
        + [result("uqlm", 2, 0.3), result("uqlm", 3, 0.2)]
    )
    assert "### set: 4 rows, 2 bad" in lines
    cut = lines.index("### The rows that uqlm scored")
    assert any(line.startswith("| fast | 0.750 ") for line in lines[:cut])
    assert not any("uqlm" in line for line in lines[:cut])
    rows = [line.split(" | ")[:3] for line in lines[cut + 1 :] if line.startswith("| ")]
    assert rows == [
        ["| system", "set, 2 rows", "mean"],
        ["| fast", "1.000 [1.00, 1.00]", "1.000 [1.00, 1.00]"],
        ["| tlm", "1.000 [1.00, 1.00]", "1.000 [1.00, 1.00]"],
        ["| uqlm", "0.000 [0.00, 0.00]", "0.000 [0.00, 0.00]"],
        ["| first", "second", "mean"],
        ["| fast", "uqlm", "+1.000 [+1.000, +1.000]"],
    ]


def test_who_is_compared_together_can_be_said() -> None:
    """The others stand apart then, though they have as many rows."""
    lines = report(results("fast", 0.1, 0.2, 0.8) + results("best", 0.1, 0.2, 0.8), main=("fast",))
    assert "### The rows that best scored" in lines
    with pytest.raises(UsageError, match="no results of tlm"):
        report(results("fast", 0.1, 0.9), main=("fast", "tlm"))


def test_a_line_that_a_kill_cut_is_dropped_and_written_over(tmp_path: Path) -> None:
    """Whole lines survive, the torn one is measured again, and the last line of a row wins."""
    path = tmp_path / "results.jsonl"
    first, second = results("fast", None, 0.2)
    for kept in (first, second):
        file = ResultsFile(path)
        file.add(kept)
        file.close()
        path.write_bytes(path.read_bytes() + b'{"system": "fa')
    assert read_results(path) == [first, second]
    file = ResultsFile(path)
    file.add(replace(first, score=0.7, error=None))
    file.close()
    assert [r.score for r in read_results(path)] == [0.7, 0.2]


def case(
    name: str, *, prompt: str = "Name a fruit", response: str = "A fruit", bad: bool = False
) -> Case:
    example = Example(
        id=name,
        file="a",
        line=1,
        format="chat",
        messages=(Message("user", prompt),),
        target=Message("assistant", response),
        original="{}",
    )
    return Case(example, bad=bad, clean="")


def test_sets_take_turns() -> None:
    """What slows the machine for a while slows all sets alike."""
    sets = {"x": [case("x1"), case("x2")], "y": [case("y1")]}
    assert [c.example.id for _, c in in_turn(sets)] == ["x1", "y1", "x2"]


@pytest.mark.parametrize(("name", "value"), [("length", 7.0), ("overlap", 0.5)])
def test_trivial_scores_by_hand(name: str, value: float) -> None:
    """Characters, and the share of the response's words that stand in the prompt (articles no)."""
    system = SYSTEMS[name](Endpoint("", "m"))
    asked = case("a", response="A fruit" if name == "length" else "a fruit, pear")
    assert asyncio.run(system.score(asked)) == value


@pytest.mark.parametrize("address", [("127.0.0.1", 80), ("::1", 80, 0, 0), "/run/pipe"])
def test_a_peer_may_reach_this_machine(address: object) -> None:
    """Loopback and pipes pass the guard."""
    worker._refuse("socket.connect", (None, address))


@pytest.mark.parametrize(
    ("event", "args"),
    [("socket.connect", (None, ("192.0.2.1", 443))), ("socket.getaddrinfo", ("example.org", 443))],
)
def test_a_peer_may_reach_nothing_else(event: str, args: tuple[object, ...]) -> None:
    """Neither an address nor a name."""
    with pytest.raises(PermissionError):
        worker._refuse(event, args)


def test_balanced_rows_are_bad_and_good_in_turn_in_the_order_of_the_file() -> None:
    """The surplus of one kind is left out, and fewer rows are a part of more."""
    cases = [case("a"), case("b", bad=True), case("c"), case("d"), case("e", bad=True)]
    assert [c.example.id for c in alternating(cases, 100)] == ["b", "a", "e", "c"]
    assert [c.example.id for c in alternating(cases, 3)] == ["b", "a"]


def test_parts_share_the_rows_out_without_a_gap() -> None:
    """Rows 1 to 7 in three parts: 1 4 7, 2 5, 3 6."""
    rows = list(range(1, 8))
    assert [rows[part_of_all(f"{n}/3")] for n in (1, 2, 3)] == [[1, 4, 7], [2, 5], [3, 6]]


@pytest.mark.parametrize("text", ["0/3", "4/3", "3", "a/b", "1/2/3"])
def test_a_part_that_is_none_is_refused(text: str) -> None:
    """Rather than measured as something else."""
    with pytest.raises(ArgumentTypeError, match="is no part"):
        part_of_all(text)
