"""Asking on where an answer is yet to come, so that a batch takes all that can be asked at once."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from clear_pipeline.errors import PendingError


class Independent:
    """A block of questions of which none needs the answer to another.

    One that is pending does not keep the later ones from being asked; the block then ends with its
    `PendingError`, so nothing is made of answers that are not all there. Where every model answers
    at once, the block does nothing::

        with Independent() as independent:
            for view in views:
                with independent.part():
                    seen.append(await ask(view))
    """

    def __init__(self) -> None:
        self._part = _Part()

    def __enter__(self) -> Self:
        return self

    def part(self) -> _Part:
        """One of the questions, or several that build on each other."""
        return self._part

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if error is None and self._part.pending is not None:
            raise self._part.pending


class _Part:
    """Ends quietly where an answer is yet to come, and keeps the first such error."""

    def __init__(self) -> None:
        self.pending: PendingError | None = None

    def __enter__(self) -> None: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> bool:
        if not isinstance(error, PendingError):
            return False
        self.pending = self.pending or error
        return True
