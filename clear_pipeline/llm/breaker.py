"""When nearly everything fails: the run stops, instead of giving up one row after the other."""

from __future__ import annotations

from collections import Counter, deque
from typing import Final

from clear_pipeline.errors import CallError, CircuitOpenError, UnreachableError

GONE_AFTER: Final = 3
"""So many questions in a row without any connection, and the server is gone."""

IN_A_ROW: Final = 5
"""So many questions in a row without an answer, of whatever kind, and no more are asked. Not more
than `stages.failures.MIN_FAILURES`: the cause is named before rows are counted."""

WINDOW: Final = 50
"""Questions whose outcomes are remembered."""

MOST_FAILED: Final = 0.5
"""More than this share of the window without an answer, and no more are asked."""

_REMEDY: Final = {
    "garbled": "See what answers at that address",
    "outage": "Wait until the service is up again",
    "rate_limit": "Wait for the quota, or ask less: max_in_flight, requests_per_minute",
    "timeout": "Wait until the server has less to do, or allow more time: timeout_s",
    "unreachable": "See whether the server is up",
}


class CircuitBreaker:
    """Watches how questions to one model end, each after its last attempt.

    Args:
        model: Name for the message.
    """

    def __init__(self, model: str) -> None:
        self._model = model
        self._outcomes: deque[str | None] = deque(maxlen=WINDOW)
        self._in_a_row: list[str] = []

    def answered(self) -> None:
        """A question got an answer, or a refusal that is about this question alone."""
        self._outcomes.append(None)
        self._in_a_row.clear()

    def failed(self, error: CallError) -> None:
        """A question is given up.

        Raises:
            UnreachableError: The last questions all found no connection.
            CircuitOpenError: Nearly all of the last questions failed in ways that may pass.
        """
        if not error.transient:
            self.answered()
            return
        self._outcomes.append(error.kind)
        self._in_a_row.append(error.kind)
        if self._in_a_row[-GONE_AFTER:] == ["unreachable"] * GONE_AFTER:
            raise UnreachableError(error.message) from error
        full = len(self._outcomes) == WINDOW
        failures = Counter(kind for kind in self._outcomes if kind is not None)
        if len(self._in_a_row) >= IN_A_ROW or (full and failures.total() > MOST_FAILED * WINDOW):
            raise CircuitOpenError(self._explained(failures, error)) from error

    def _explained(self, failures: Counter[str], last: CallError) -> str:
        kinds = ", ".join(f"{count} {kind}" for kind, count in failures.most_common())
        worst = failures.most_common(1)[0][0]
        return (
            f"{failures.total()} of the last {len(self._outcomes)} questions to {self._model} got "
            f"no answer ({kinds}), each after its last attempt; the last: {last.message}. "
            f"{_REMEDY.get(worst, 'Mend the cause')}. No row was marked for it: the same command "
            "goes on from here, and no answer is asked for twice"
        )
