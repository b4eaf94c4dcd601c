"""What loading yields."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import pyarrow as pa

from clear_pipeline.errors import ClearPipelineError
from clear_pipeline.schema import JSON


class FileError(ClearPipelineError):
    """A file cannot be read, or not to its end; the message is the reason."""


class UnknownColumnsError(FileError):
    """A table has the columns of no format that was looked for.

    Args:
        reason: As in `FileError`.
        columns: That it has.
    """

    def __init__(self, reason: str, columns: Sequence[str]) -> None:
        super().__init__(reason)
        self.columns = tuple(columns)


@dataclass(frozen=True, slots=True)
class Raw:
    """One source row as a container's reader found it.

    Attributes:
        line: Physical first line (JSONL, CSV) or 1-based number of the row.
        record: The row, or None if it could not be parsed.
        text: What stands in the file; None where the container is not text.
        reason: Why there is no record.
    """

    line: int
    record: Mapping[str, JSON] | None
    text: str | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Source:
    """An opened source: its container as in `FileFacts`, and its rows, to be read once."""

    container: str
    rows: Iterator[Raw]


@dataclass(frozen=True, slots=True)
class FileFacts:
    """What a readable file turned out to be; comes before its first shard.

    Attributes:
        container: `jsonl`, `json`, `csv`, `parquet`, `arrow` or `memory`, with the compression
            as in `jsonl+gzip`.
        format: Name of the row format with its column map; "" if no row could be parsed.
    """

    container: str
    format: str


@dataclass(frozen=True, slots=True)
class LoadedShard:
    """Rows of one file that are computed together.

    Attributes:
        key: 16 hex digits from the rows' content: the same whatever happens to other files.
        table: Schema `ROWS`.
    """

    key: str
    table: pa.Table


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A row that cannot be used. `text` is what stands in the file, cut at a stated length."""

    id: str
    file: str
    line: int
    reason: str
    text: str

    def __str__(self) -> str:
        return f"{self.id}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Problem:
    """Something about a file that the user must know, though rows of it were read."""

    file: str
    reason: str


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file that gives no row at all, and why."""

    path: str
    reason: str


Event: TypeAlias = FileFacts | LoadedShard | Quarantined | Problem | Skipped
