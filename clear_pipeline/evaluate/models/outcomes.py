"""When to stop asking: where nothing comes of one row after the other, nothing will."""

from __future__ import annotations

from typing import Final

from clear_pipeline.errors import RunFailedError

_HOPELESS: Final = 20
"""So many rows that nothing came of, and no more are asked about."""


class Outcomes:
    """Counts what comes of the rows that a model is asked about.

    Args:
        rows: How many there are.
        wanted: What each is to bring, as in "rows got an answer".
    """

    def __init__(self, rows: int, *, wanted: str) -> None:
        self._most = min(_HOPELESS, rows)
        self._wanted = wanted
        self._good = self._bad = 0

    def enter(self, error: str | None) -> None:
        """Enter a row: why nothing came of it, or None.

        Raises:
            RunFailedError: Nothing has come of any, and they were many.
        """
        self._good += error is None
        self._bad += error is not None
        if not self._good and self._bad >= self._most:
            raise RunFailedError(
                f"none of {self._bad} {self._wanted}; the last: {error}. Mend the cause and run "
                "the same command again"
            )
