"""Work that may be stopped and goes on later: by Ctrl-C, by SIGTERM or by a cap."""

from __future__ import annotations

import shlex
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import typer
from rich.text import Text

from clear_pipeline.cli.caps import with_cap
from clear_pipeline.cli.console import errors, fail, next_command, this_command
from clear_pipeline.errors import BudgetExceededError


@contextmanager
def resumable() -> Iterator[None]:
    """Tell how work goes on that was stopped, and exit: 130 or 143, or 3 at a cap.

    SIGTERM, by which a machine is shut down or a job is cancelled, ends the work as Ctrl-C does.
    """
    with _terminations() as terminations:
        try:
            yield
        except (KeyboardInterrupt, typer.Abort) as stop:
            if isinstance(stop, typer.Abort) and not terminations:
                raise  # a question was answered by Ctrl-C
            signal_ = signal.SIGTERM if terminations else signal.SIGINT
            how = "ended by SIGTERM" if terminations else "interrupted"
            errors.print(Text(f"{how}; what was done is kept, and the same command goes on"))
            next_command(this_command())
            raise typer.Exit(128 + signal_) from None
        except BudgetExceededError as error:
            fail(error)
            next_command(
                shlex.join(["clear-pipeline", *with_cap(sys.argv[1:], error.cap, error.enough)])
            )
            raise typer.Exit(error.exit_code) from None


@contextmanager
def _terminations() -> Iterator[list[int]]:
    """Have SIGTERM do here what Ctrl-C does, and list each."""
    seen: list[int] = []

    def end(number: int, _frame: FrameType | None) -> None:
        seen.append(number)
        raise KeyboardInterrupt

    before = signal.getsignal(signal.SIGTERM)
    mine = threading.current_thread() is threading.main_thread() and before == signal.SIG_DFL
    if mine:
        signal.signal(signal.SIGTERM, end)
    try:
        yield seen
    finally:
        if mine:
            signal.signal(signal.SIGTERM, before)
