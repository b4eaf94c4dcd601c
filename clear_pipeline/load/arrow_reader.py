"""Rows of Parquet and Arrow files and of tables in memory, a batch at a time."""

from __future__ import annotations

import base64
import datetime as dt
import decimal
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from clear_pipeline.load.events import FileError, Raw
from clear_pipeline.load.streams import bounded
from clear_pipeline.schema import JSON

BATCH_ROWS = 1000
"""Rows that are taken out of a table at a time, fewer where they are long."""
_BATCH_BYTES = 1 << 22
_TEXTS = (pa.string(), pa.large_string(), pa.binary(), pa.large_binary())


def read_parquet(path: Path, *, max_expansion: int) -> Iterator[Raw]:
    """Rows of a Parquet file; at most a batch and the pages it comes from are in memory.

    Args:
        path: The file.
        max_expansion: Of its pages by its own account, and of its rows: a value that a dictionary
            repeats stands in the file once. See `streams.bounded`.

    Raises:
        FileError: The file is damaged or a bomb; rows before the damage were yielded.
    """
    try:
        with pq.ParquetFile(path, pre_buffer=False, buffer_size=1 << 16) as file:
            groups = [file.metadata.row_group(i) for i in range(file.num_row_groups)]
            size = path.stat().st_size
            bounded(size, sum(g.total_byte_size for g in groups), max_expansion)
            rows = min((_rows(g.num_rows, g.total_byte_size) for g in groups), default=1)
            yield from _numbered(_measured(file.iter_batches(batch_size=rows), size, max_expansion))
    except (pa.ArrowException, OSError, ValueError) as error:
        raise FileError(f"cannot be read as Parquet: {_line(error)}") from error


def _measured(
    batches: Iterable[pa.RecordBatch], size: int, max_expansion: int
) -> Iterator[pa.RecordBatch]:
    done = 0
    for batch in batches:
        done += sum(map(_decoded, batch.columns))
        bounded(size, done, max_expansion)
        yield batch


def _decoded(column: pa.Array) -> int:
    """Bytes of a column; of texts in a dictionary as often as they are used."""
    kind = column.type
    if pa.types.is_dictionary(kind) and kind.value_type in _TEXTS:
        lengths = pc.binary_length(column.dictionary)
        return int(pc.sum(lengths.take(column.indices)).as_py() or 0)
    return int(column.nbytes)


def read_arrow(path: Path, *, stream: bool) -> Iterator[Raw]:
    """Rows of an Arrow IPC stream (as Hugging Face datasets saves) or IPC file.

    Raises:
        FileError: The file is damaged; rows before the damage were yielded.
    """
    try:
        with pa.OSFile(str(path)) as file:
            if stream:
                yield from _numbered(_sound(pa.ipc.open_stream(file)))
            else:
                reader = pa.ipc.open_file(file)
                batches = (reader.get_batch(i) for i in range(reader.num_record_batches))
                yield from _numbered(_sound(batches))
    except (pa.ArrowException, OSError, ValueError) as error:
        raise FileError(f"cannot be read as Arrow: {_line(error)}") from error


def _sound(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The batches, each checked: an offset that points out of its buffer would end the process."""
    for batch in batches:
        batch.validate(full=True)
        yield batch


def read_batches(batches: Iterable[pa.RecordBatch | pa.Table]) -> Iterator[Raw]:
    """Rows of record batches in memory."""
    return _numbered(batches)


def read_records(records: Iterable[Mapping[Any, Any]]) -> Iterator[Raw]:
    """Rows that are Python objects, such as those of a pandas DataFrame."""
    return (Raw(number, _record(record)) for number, record in enumerate(records, start=1))


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200].rstrip(".")


def _rows(rows: int, size: int) -> int:
    """How many of the rows of a table may become Python objects at once."""
    return max(1, min(BATCH_ROWS, rows * _BATCH_BYTES // max(1, size)))


def _numbered(batches: Iterable[pa.RecordBatch | pa.Table]) -> Iterator[Raw]:
    number = 0
    for batch in batches:
        rows = _rows(batch.num_rows, batch.nbytes)
        for start in range(0, batch.num_rows, rows):
            for record in _records(batch.slice(start, rows)):
                number += 1
                if isinstance(record, str):
                    yield Raw(number, None, "", record)
                else:
                    yield Raw(number, _record(record))


def _records(batch: pa.RecordBatch | pa.Table) -> Iterator[Mapping[str, Any] | str]:
    """Rows as Python objects; where one cannot be decoded, the reason instead."""
    try:
        yield from batch.to_pylist()
    except (UnicodeDecodeError, ValueError, OverflowError, pa.ArrowException):
        for index in range(batch.num_rows):
            try:
                yield batch.slice(index, 1).to_pylist()[0]
            except UnicodeDecodeError:
                yield "invalid UTF-8"
            except (ValueError, OverflowError, pa.ArrowException) as error:
                yield f"a value cannot be read: {_line(error)}"


def _record(record: Mapping[Any, Any]) -> dict[str, JSON]:
    return {str(name): as_json(value) for name, value in record.items()}


def as_json(value: Any) -> JSON:  # noqa: ANN401, PLR0911
    """A column's value as JSON.

    Dates and times become ISO 8601 text, durations seconds, decimals text, bytes `base64:` text,
    infinities text; NaN and pandas' missing values null; maps objects if their keys are text, else
    lists of pairs. Text, numbers, lists and objects stay what they are.
    """
    match value:
        case None | str() | bool() | int():
            return value
        case float():
            return None if math.isnan(value) else value if math.isfinite(value) else str(value)
        case Mapping():
            return {str(key): as_json(item) for key, item in value.items()}
        case list() | tuple():
            return [as_json(item) for item in value]
        case bytes():
            return f"base64:{base64.b64encode(value).decode()}"
        case decimal.Decimal():
            return str(value)
        case dt.timedelta():
            return value.total_seconds()
        case dt.date() | dt.time():
            return None if value != value else value.isoformat()  # noqa: PLR0124  # NaT
    if hasattr(value, "tolist"):  # numpy's scalars and arrays
        return as_json(value.tolist())
    return None if type(value).__name__ in ("NAType", "NaTType") else str(value)
