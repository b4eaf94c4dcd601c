"""The progress of a round: every step is told with its round."""

from __future__ import annotations

from collections.abc import Callable

from clear_pipeline.stages.base import Progress


class RoundProgress:
    """Implements `stages.base.Progress` for one round.

    Args:
        progress: Where all is told.
        place: The round, as in "round 1 of 2".
    """

    def __init__(self, progress: Progress, place: str) -> None:
        self._progress = progress
        self._place = place

    def start(self, label: str, total: int) -> None:
        """A step of `total` rows begins."""
        self._progress.start(f"{self._place}, {label}", total)

    def advance(self, rows: int = 1) -> None:
        """So many more rows are done."""
        self._progress.advance(rows)

    def finish(self) -> None:
        """The step that was started last is over."""
        self._progress.finish()

    def spent(self, tell: Callable[[], str]) -> None:
        """What tells the spend in words."""
        self._progress.spent(tell)

    def note(self, text: str) -> None:
        """One line, as it is."""
        self._progress.note(text)

    def step(self, what: str) -> None:
        """Say what begins."""
        self._progress.note(f"{self._place}: {what}")
