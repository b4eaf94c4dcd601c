"""Files of training rows, written row by row in bounded memory; equal rows give equal bytes.

What the operating system will not write is an `UnwritableError` with the file's name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.parquet as pq

from clear_pipeline.durable import writing
from clear_pipeline.schema import MESSAGE

PARQUET_COLUMNS = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("messages", pa.list_(MESSAGE), nullable=False),
        pa.field("tools", pa.large_string()),
        pa.field("confidence", pa.float64()),
        pa.field("original", pa.large_string()),
    ]
)
"""Of the format `parquet`. `messages` ends with the target; `original` is the source row as JSON,
null with `extra_columns: drop`."""


class JsonLines:
    """A file of one JSON object per line."""

    suffix: ClassVar[str] = ".jsonl"

    def __init__(self, path: Path) -> None:
        self._path = path
        with writing(path):
            self._file = path.open("w", encoding="utf-8", newline="\n")

    def close(self) -> None:
        """Write what is left; nothing may follow."""
        with writing(self._path):
            self._file.close()

    def write(self, row: Mapping[str, Any]) -> None:
        """Append a row."""
        with writing(self._path):
            self._file.write(json.dumps(row, ensure_ascii=False) + "\n")


class Parquet:
    """A file of `PARQUET_COLUMNS`, a bounded number of rows in memory."""

    suffix: ClassVar[str] = ".parquet"
    rows_per_group: ClassVar[int] = 10_000

    def __init__(self, path: Path) -> None:
        self._path = path
        with writing(path):
            self._writer = pq.ParquetWriter(path, PARQUET_COLUMNS, compression="zstd")
        self._rows: list[Mapping[str, Any]] = []

    def close(self) -> None:
        """Write what is left; nothing may follow."""
        self._flush()
        with writing(self._path):
            self._writer.close()

    def write(self, row: Mapping[str, Any]) -> None:
        """Append a row."""
        self._rows.append(row)
        if len(self._rows) == self.rows_per_group:
            self._flush()

    def _flush(self) -> None:
        with writing(self._path):
            self._writer.write_table(pa.Table.from_pylist(self._rows, schema=PARQUET_COLUMNS))
        self._rows.clear()
