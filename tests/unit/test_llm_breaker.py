"""When nearly everything fails, no more is asked."""

from __future__ import annotations

import pytest

from clear_pipeline.errors import CallError, CircuitOpenError, UnreachableError
from clear_pipeline.llm.breaker import GONE_AFTER, IN_A_ROW, WINDOW, CircuitBreaker
from clear_pipeline.stages.failures import MIN_FAILURES


def lost(kind: str = "outage", *, transient: bool = True) -> CallError:
    return CallError(kind, "no", transient=transient)


def test_five_in_a_row_open_it_before_rows_are_counted() -> None:
    """A stage counts from its fifth failed row on; the fifth question stops it first."""
    assert IN_A_ROW <= MIN_FAILURES
    breaker = CircuitBreaker("m")
    for _ in range(IN_A_ROW - 1):
        breaker.failed(lost())
    with pytest.raises(CircuitOpenError, match=r"5 of the last 5 questions to m .*\(5 outage\)"):
        breaker.failed(lost())


def test_an_answer_between_keeps_it_closed() -> None:
    """Four lost, one answered, again and again: more than half of fifty, and it opens."""
    breaker = CircuitBreaker("m")
    for number in range(WINDOW - 1):
        if number % 5 == 4:
            breaker.answered()
        else:
            breaker.failed(lost("timeout" if number % 5 else "rate_limit"))
    with pytest.raises(CircuitOpenError) as failure:
        breaker.failed(lost("timeout"))
    said = str(failure.value)
    assert "41 of the last 50 questions to m got no answer (31 timeout, 10 rate_limit)" in said
    assert "timeout_s" in said
    assert "the same command goes on" in said


def test_half_of_the_window_may_fail() -> None:
    """Every other question lost: rows are marked, as the stage's own settings allow."""
    breaker = CircuitBreaker("m")
    for _ in range(2 * WINDOW):
        breaker.failed(lost())
        breaker.answered()


def test_refusals_of_a_row_are_no_outage() -> None:
    """A server that says why it refuses a question is up."""
    breaker = CircuitBreaker("m")
    for _ in range(WINDOW):
        breaker.failed(lost("bad_request", transient=False))


def test_no_connection_counts_sooner() -> None:
    """Three in a row, and the server is gone; one of another kind between starts anew."""
    breaker = CircuitBreaker("m")
    for kind in ("unreachable", "unreachable", "outage", "unreachable"):
        breaker.failed(lost(kind))
    gone = CircuitBreaker("m")
    for _ in range(GONE_AFTER - 1):
        gone.failed(lost("unreachable"))
    with pytest.raises(UnreachableError):
        gone.failed(lost("unreachable"))
