"""Work that is done together: soon, but with a pause between two times."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

PAUSE_S: Final = 0.01
"""Between two commits. A disk takes half a millisecond or more for one, and the event loop waits;
a question takes much longer, so that nobody notices a hundredth of a second."""


class Spaced:
    """Calls `work` once for all that asked for it meanwhile.

    Where the last time is longer ago than the pause, that is in the next turn of the event loop.

    Args:
        work: What is to be done; it must not raise.
        pause: Seconds between two times.
    """

    def __init__(self, work: Callable[[], None], *, pause: float = PAUSE_S) -> None:
        self._work = work
        self._pause = pause
        self._next = 0.0
        self._due = False

    def soon(self) -> None:
        """See to it that the work is done after this."""
        if self._due:
            return
        self._due = True
        loop = asyncio.get_running_loop()
        if loop.time() >= self._next:
            loop.call_soon(self._run, loop)
        else:
            loop.call_at(self._next, self._run, loop)

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        self._due = False
        self._work()
        self._next = loop.time() + self._pause
