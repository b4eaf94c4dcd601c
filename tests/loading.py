"""Loading in tests: small files, and the events that they give."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa

from clear_pipeline.load import Data, LoadedShard, LoadSettings, discover

T = TypeVar("T")
Row = dict[str, Any]
ALPACA: list[Row] = [{"instruction": f"{n}?", "input": "", "output": str(n)} for n in range(5)]


def jsonl(rows: list[Row]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def events(data: Data, **settings: Any) -> list[Any]:  # noqa: ANN401
    found = discover(data).inputs
    return [event for item in found for event in item.load(LoadSettings(**settings))]


def of(kind: type[T], found: list[Any]) -> list[T]:
    return [event for event in found if isinstance(event, kind)]


def rows(found: list[Any]) -> list[Row]:
    return [row for shard in of(LoadedShard, found) for row in shard.table.to_pylist()]


def arrow_stream(path: Path, table: list[Row]) -> None:
    data = pa.Table.from_pylist(table)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, data.schema) as writer:
        writer.write_table(data)
