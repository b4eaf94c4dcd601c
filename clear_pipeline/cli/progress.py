"""Live progress on a terminal, a line per tenth elsewhere; always with rate, ETA and spend."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from clear_pipeline.report.text import visible

_WORTH_A_LINE = 2.0
"""Seconds. Of shorter steps no line stays; the summary at the end tells what they did."""

_WORDED_S = 0.1
"""Seconds. No more often is the spend put into words, however many rows pass."""


class TerminalProgress:
    """Implements `stages.base.Progress` on a rich console (standard error).

    Args:
        console: Where to draw.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar: Progress | None = None
        self._task = TaskID(0)
        self._label = ""
        self._total = 0
        self._done = 0
        self._tenth = 0
        self._began = 0.0
        self._due = 0.0
        self._words = ""
        self._spent: Callable[[], str] = _nothing

    def start(self, label: str, total: int) -> None:
        """Begin a step; a total of 0 means unknown."""
        self._label, self._total, self._done, self._tenth = label, total, 0, 0
        self._began = time.monotonic()
        if self._console.is_terminal:
            self._bar = _Bar(
                self._so_far,
                SpinnerColumn(),
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rate]}"),
                TimeRemainingColumn(),
                TextColumn("{task.fields[spent]}"),
                console=self._console,
                transient=True,
            )
            self._bar.start()
            self._due, self._words = 0.0, ""
            self._task = self._bar.add_task(label, total=total or None, rate="", spent="")

    def advance(self, rows: int = 1) -> None:
        """So many more rows are done."""
        self._done += rows
        if self._bar is not None:
            if (now := time.monotonic()) >= self._due:
                self._due = now + _WORDED_S
                self._words = self._spent()
        elif self._total and self._done * 10 // self._total > self._tenth:
            self._tenth = self._done * 10 // self._total
            if time.monotonic() - self._began > _WORTH_A_LINE and self._done < self._total:
                self._console.print(Text(self._line()))

    def spent(self, tell: Callable[[], str]) -> None:
        """Remember what to show beside the bar."""
        self._spent = tell

    def finish(self) -> None:
        """End the step with one line that stays."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
        seconds = time.monotonic() - self._began
        if self._done and (seconds > _WORTH_A_LINE or not self._total):
            parts = [f"{self._label}: {self._done:,} rows in {seconds:.1f} s", self._rate()]
            self._console.print(Text(", ".join([*parts, *filter(None, [self._spent()])])))
        self._spent = _nothing

    def note(self, text: str) -> None:
        """Print a line above the bar; never interpreted as markup, nor obeyed by the terminal."""
        self._console.print(Text(visible(text)))

    def _so_far(self) -> dict[str, Any]:
        return {"completed": self._done, "rate": self._rate(), "spent": self._words}

    def _rate(self) -> str:
        seconds = time.monotonic() - self._began
        return f"{self._done / seconds:,.1f} rows/s" if seconds > 0 else ""

    def _line(self) -> str:
        seconds = time.monotonic() - self._began
        left = seconds / self._done * (self._total - self._done)
        parts = [f"{self._label}: {self._done:,}/{self._total:,} rows", self._rate()]
        return ", ".join([*parts, f"about {left:.0f} s left", *filter(None, [self._spent()])])


class _Bar(Progress):
    """A bar that asks how far things are when it is drawn, so that a row costs it nothing.

    Args:
        so_far: Tells the fields of the task.
        columns: As of `Progress`, like the rest.
    """

    def __init__(
        self,
        so_far: Callable[[], dict[str, Any]],
        *columns: ProgressColumn,
        console: Console,
        transient: bool,
    ) -> None:
        self._so_far = so_far
        super().__init__(*columns, console=console, transient=transient)

    def get_renderables(self) -> Iterable[RenderableType]:
        """What is drawn now."""
        for task in self.task_ids:
            self.update(task, **self._so_far())
        yield from super().get_renderables()


def _nothing() -> str:
    return ""
