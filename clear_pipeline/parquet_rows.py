"""Parquet files that are too long for memory, read a batch of rows at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq


def parquet_batches(
    path: Path, columns: Sequence[str] | None = None, *, rows: int
) -> Iterator[pa.RecordBatch]:
    """The rows of a file in order, one batch in memory at a time.

    Args:
        path: The file.
        columns: Which columns; None = all.
        rows: Of a batch, at most.

    Raises:
        OSError: It cannot be read.
        pa.ArrowException: It is no Parquet file.
    """
    # By default pyarrow reads ahead, and holds what it has read until the file is through.
    with pq.ParquetFile(path, pre_buffer=False) as file:
        wanted = None if columns is None else list(columns)
        yield from file.iter_batches(columns=wanted, batch_size=rows)
