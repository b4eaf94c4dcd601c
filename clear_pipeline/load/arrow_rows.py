"""Rows of Arrow tables, a batch at a time, as JSON."""

from __future__ import annotations

import base64
import datetime as dt
import decimal
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pyarrow as pa

from clear_pipeline.load.arrow_size import rows_at_once
from clear_pipeline.load.events import Raw
from clear_pipeline.schema import JSON


def read_batches(batches: Iterable[pa.RecordBatch | pa.Table]) -> Iterator[Raw]:
    """Rows of record batches, numbered from 1."""
    number = 0
    for batch in batches:
        rows = rows_at_once(batch.num_rows, batch.nbytes)
        for start in range(0, batch.num_rows, rows):
            for record in _records(batch.slice(start, rows)):
                number += 1
                if isinstance(record, str):
                    yield Raw(number, None, "", record)
                else:
                    yield Raw(number, _record(record))


def read_records(records: Iterable[Mapping[Any, Any]]) -> Iterator[Raw]:
    """Rows that are Python objects, such as those of a pandas DataFrame."""
    return (Raw(number, _record(record)) for number, record in enumerate(records, start=1))


def first_line(error: Exception) -> str:
    """What an error of Arrow says, cut."""
    return (str(error).splitlines() or [type(error).__name__])[0][:200].rstrip(".")


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
                yield f"a value cannot be read: {first_line(error)}"


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
