"""The benchmark of the caps, in small: its server counts for itself, its verdict can be no."""

from __future__ import annotations

import asyncio
from pathlib import Path

from benchmarks.caps import Outcome, line, measure, verdict
from clear_pipeline.llm.meter import Amount


def test_runs_with_caps_and_a_kill_hold(tmp_path: Path) -> None:
    """Calls, tokens and dollars, one run each, the first of them killed on its way."""
    outcomes = asyncio.run(measure(runs=3, kills=1, rows=40, scratch=tmp_path))
    assert {outcome.unit for outcome in outcomes} == {"calls", "tokens", "usd"}
    assert [outcome.killed for outcome in outcomes] == [1, 0, 0]
    assert outcomes[0].unaccounted.calls >= 1
    assert all(outcome.holds for outcome in outcomes), [line(1, each) for each in outcomes]
    assert all(outcome.most_open > 1 for outcome in outcomes)


def test_what_does_not_hold_is_told() -> None:
    """A cap that the server's count is above, a bill that is missing, a run without an end."""
    good = Outcome("calls", 10, at_stop=10, processes=2, billed=Amount(20, 300, 9),
                   spent=Amount(20, 310, 9), complete=True)  # fmt: skip
    assert good.holds
    missing = Outcome("calls", 10, billed=Amount(20, 300, 9), spent=Amount(20, 299, 9),
                      complete=True)  # fmt: skip
    passed = Outcome("calls", 10, passed=[(10, 11)], complete=True)
    bad = [missing, passed, Outcome("calls", 10)]
    assert not any(outcome.holds for outcome in bad)
    assert "NO [(10, 11)]" in line(1, passed)
    told = verdict([good, *bad])
    assert told.startswith("4 runs, 2 processes, 0 killed: 1 runs passed a cap")
    assert "; 1 held every cap" in told
