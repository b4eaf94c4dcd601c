"""Counting failed rows, so that a stage stops before it has filled a dataset with failures."""

from __future__ import annotations

from collections import Counter
from typing import Final

from clear_pipeline.errors import ROW_KINDS, TooManyFailuresError

MIN_FAILURES: Final = 5
"""So many rows must have failed before their share is judged."""


class FailureTally:
    """Rows that one stage has begun and failed in one run so far.

    Args:
        total: How many rows the stage has before it, also those that it will not ask about; 0 if
            nobody knows.
        refused: Rows of these that an earlier run found to fail by themselves (`ROW_KINDS`), and
            that are not begun again.
    """

    def __init__(self, total: int = 0, *, refused: int = 0) -> None:
        self.begun = 0
        self._total = total
        self._errors: Counter[str] = Counter()
        self._refused = refused
        self._of_rows = 0

    def fail(self, stage: str, error: str, allowed: float, *, kind: str) -> None:
        """Count a failed row of the stage of that name.

        A failure that comes from the row itself (`ROW_KINDS`) tells nothing about the rows to come,
        and such rows often stand together. So it counts against all rows of the stage; any other
        also against those begun, so that an endpoint that answers nothing stops the stage early.

        Args:
            stage: Its name in the config.
            error: What happened, for people.
            allowed: The share of rows that may fail, in [0, 1].
            kind: `CallError.kind`.

        Raises:
            TooManyFailuresError: At least `MIN_FAILURES` rows, and more than the share `allowed`,
                have failed.
        """
        self._errors[error] += 1
        self._of_rows += kind in ROW_KINDS
        now = self._errors.total()
        elsewhere = now - self._of_rows
        failed, rows = self._refused + now, max(self.begun, self._total)
        if elsewhere >= MIN_FAILURES and elsewhere > allowed * self.begun:
            failed, rows = now, self.begun
        elif failed < MIN_FAILURES or failed <= allowed * rows:
            return
        worst, count = self._errors.most_common(1)[0]
        raise TooManyFailuresError(
            f"{stage}: {failed} of {rows} rows failed, more than "
            f"max_failed_fraction = {allowed:g} allows. Most often ({count}x): {worst}. Mend "
            "the cause and run the same command again, or allow more with --set "
            f"stages.{stage}.max_failed_fraction=1; no answer is asked for twice."
        )
