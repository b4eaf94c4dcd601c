"""Tables in memory as DATA: pandas DataFrames, Hugging Face Datasets, Arrow tables.

pandas and datasets are known by what is used of them, so that neither is imported here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

import pyarrow as pa

from clear_pipeline.load.arrow_rows import read_batches, read_records
from clear_pipeline.load.arrow_size import BATCH_ROWS
from clear_pipeline.load.events import Event, Raw, Source
from clear_pipeline.load.rows import load_rows
from clear_pipeline.load.settings import LoadSettings


@runtime_checkable
class Frame(Protocol):
    """A pandas DataFrame."""

    @property
    def iloc(self) -> Any:  # noqa: ANN401
        """Rows by position."""
        ...

    def to_dict(self, orient: Any) -> Any:  # noqa: ANN401
        """Rows as dictionaries."""
        ...


@runtime_checkable
class HFDataset(Protocol):
    """A Hugging Face `Dataset`."""

    def with_format(self, type: str) -> Any:  # noqa: A002, ANN401
        """The same rows in another shape."""
        ...


@dataclass(frozen=True, slots=True)
class MemoryTable:
    """A table in memory. `name` is `dataframe`, `dataset` (`dataset/SPLIT`) or `table`."""

    name: str
    table: Frame | HFDataset | pa.Table
    stamp: ClassVar[str] = ""

    def here(self, _directory: Path) -> AbstractContextManager[MemoryTable]:
        """Itself, see `RemoteFile.here`."""
        return nullcontext(self)

    def digest(self) -> str:
        """SHA-256 of its rows as JSON."""
        digest = hashlib.sha256()
        for raw in self._rows():
            line = json.dumps([raw.record, raw.reason], separators=(",", ":"))
            digest.update(line.encode("utf-8") + b"\n")
        return digest.hexdigest()

    def size(self) -> int:
        """0: it takes no bytes on disk."""
        return 0

    def load(self, settings: LoadSettings, *, limit: int | None = None) -> Iterator[Event]:
        """Read it, see `DataFile.load`."""
        return load_rows(self.name, Source("memory", self._rows()), settings, limit=limit)

    def _rows(self) -> Iterator[Raw]:
        if isinstance(self.table, pa.Table):
            return read_batches(self.table.to_batches(BATCH_ROWS))
        if isinstance(self.table, Frame):
            return read_records(_frame_records(self.table))
        return read_batches(self.table.with_format("arrow").iter(batch_size=BATCH_ROWS))


def _frame_records(frame: Frame) -> Iterator[Mapping[Any, Any]]:
    start = 0
    while records := frame.iloc[start : start + BATCH_ROWS].to_dict("records"):
        yield from records
        start += BATCH_ROWS
