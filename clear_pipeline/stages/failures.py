"""Counting failed rows, so that a stage stops before it has filled a dataset with failures."""

from __future__ import annotations

from collections import Counter
from typing import Final

from clear_pipeline.errors import TooManyFailuresError

MIN_FAILURES: Final = 5
"""So many rows must have failed before their share is judged."""


class FailureTally:
    """Rows that one stage has begun and failed in one run so far."""

    def __init__(self) -> None:
        self.begun = 0
        self.errors: Counter[str] = Counter()

    def fail(self, stage: str, error: str, allowed: float) -> None:
        """Count a failed row of the stage of that name.

        Raises:
            TooManyFailuresError: At least `MIN_FAILURES` rows, and more than the share `allowed`
                of all rows begun, have failed.
        """
        self.errors[error] += 1
        failed = self.errors.total()
        if failed >= MIN_FAILURES and failed > allowed * self.begun:
            worst, count = self.errors.most_common(1)[0]
            raise TooManyFailuresError(
                f"{stage}: {failed} of {self.begun} rows failed, more than "
                f"max_failed_fraction = {allowed:g} allows. Most often ({count}x): {worst}. Mend "
                "the cause and run the same command again, or allow more with --set "
                f"stages.{stage}.max_failed_fraction=1; no answer is asked for twice."
            )
