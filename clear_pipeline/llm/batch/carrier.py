"""The ways in which a file of requests gets to an engine, and its results back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Protocol

from clear_pipeline.llm.batch.batch import Batch

Entered = Callable[[Batch], None]
"""Commits what is newly known of a batch."""

ENDED: Final = ("completed", "failed", "expired", "cancelled")
"""States after which nothing more comes."""


UNKNOWN: Final = "unknown"
"""State of a batch that its provider does not know: of another account, or deleted there."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A batch as its engine sees it now.

    Attributes:
        state: Of the batch.
        answered: Requests answered so far.
        failed: Requests that failed so far.
        files: Where the results are, once it has ended.
        reason: Why the whole batch has failed, or "".
    """

    state: str
    answered: int = 0
    failed: int = 0
    files: tuple[str, ...] = ()
    reason: str = ""

    def of(self, batch: Batch) -> Batch:
        """The batch with this state."""
        return replace(batch, state=self.state, answered=self.answered, failed=self.failed)


class Carrier(Protocol):
    """One way, for one model."""

    async def find(self, batch: Batch) -> str | None:
        """The id of a batch that an earlier try may have submitted, by its tag.

        Raises:
            RunFailedError: It cannot be found out now.
        """
        ...

    async def submit(self, batch: Batch, path: Path, entered: Entered, *, again: bool) -> Batch:
        """Submit the file at `path`; each id is entered as soon as it is known.

        Args:
            batch: Without an id.
            path: Its requests.
            entered: Commits an id.
            again: Somebody may have done it before: what came of that is looked for first. So it
                is after a failure on the way, since what failed may have been done all the same.

        Raises:
            RunFailedError: It cannot be submitted now.
        """
        ...

    async def look(self, batch: Batch) -> Seen:
        """How far a submitted batch is; `UNKNOWN` if nobody knows it.

        Raises:
            RunFailedError: It cannot be found out now.
        """
        ...

    async def results(self, seen: Seen) -> Iterable[bytes]:
        """The lines of all its results so far.

        Raises:
            RunFailedError: They cannot be had now.
        """
        ...

    async def cancel(self, batch: Batch) -> None:
        """Have nothing more of it answered; what has been stays to be had.

        Raises:
            RunFailedError: It cannot be cancelled now.
        """
        ...


class Offline:
    """Files for an engine that somebody starts by hand, such as `vllm run-batch`.

    An engine writes its results one after the other: those that are whole have the name
    `results-NUMBER.jsonl`, and those that may still grow the name with `.part` behind it.

    Args:
        directory: Where results are looked for.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    async def find(self, batch: Batch) -> str | None:
        """The file needs nobody to take it."""
        return str(batch.number)

    async def submit(
        self,
        batch: Batch,
        path: Path,  # noqa: ARG002
        entered: Entered,
        *,
        again: bool,  # noqa: ARG002
    ) -> Batch:
        """The file lies where it is asked for."""
        written = replace(batch, state="written", batch_id=str(batch.number))
        entered(written)
        return written

    async def look(self, batch: Batch) -> Seen:
        """Completed once its results are whole; until then, how many of them are there."""
        path = results_path(self._directory, batch)
        if path.is_file():
            return Seen("completed", files=(str(path),))
        growing = growing_path(self._directory, batch)
        return Seen(batch.state, answered=_whole_lines(growing) if growing.is_file() else 0)

    async def results(self, seen: Seen) -> Iterable[bytes]:
        """The lines of its results."""
        return _lines(seen.files)

    async def cancel(self, batch: Batch) -> None:
        """Nobody has to be told."""


def _lines(files: Iterable[str]) -> Iterator[bytes]:
    for file in files:
        with Path(file).open("rb") as lines:
            yield from lines


def _whole_lines(path: Path) -> int:
    """Lines that have been written to their ends."""
    with path.open("rb") as lines:
        return sum(line.endswith(b"\n") for line in lines)


def requests_path(directory: Path, batch: Batch) -> Path:
    """The file of a batch."""
    return directory / f"requests-{batch.number}.jsonl"


def results_path(directory: Path, batch: Batch) -> Path:
    """Where the results of an offline batch are expected once they are whole."""
    return directory / f"results-{batch.number}.jsonl"


def growing_path(directory: Path, batch: Batch) -> Path:
    """Where an engine writes them until then."""
    return directory / f"{results_path(directory, batch).name}.part"
