"""The tables of the comparison with the peers, from planted results."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.confidence import alternating, in_turn
from benchmarks.confidence_report import Result, ResultsFile, pair, read_results, report
from benchmarks.peers import worker
from benchmarks.rectify import Case
from benchmarks.systems import SYSTEMS, Endpoint
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


def test_results_of_two_models_are_no_comparison() -> None:
    """A report of one file must not mix models or splits."""
    rows = results("fast", 0.1, 0.2, 0.8)
    with pytest.raises(ValueError, match="one model"):
        report([*rows, replace(rows[0], model="other")])


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
