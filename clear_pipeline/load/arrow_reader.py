"""Rows of Arrow IPC files and streams, whose batches stay on the disk until they are used."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pyarrow as pa

from clear_pipeline.load.arrow_rows import first_line, read_batches
from clear_pipeline.load.arrow_size import measured
from clear_pipeline.load.events import FileError, Raw
from clear_pipeline.load.streams import Bound

_HEAD: Final = 8
"""Bytes of a file before the messages, which stand in it as in a stream."""


def read_arrow(path: Path, *, stream: bool, max_expansion: int) -> Iterator[Raw]:
    """Rows of an Arrow IPC stream (as Hugging Face datasets saves) or IPC file.

    The file is mapped: of a batch as large as it is, what is not used takes no memory.

    Args:
        path: The file.
        stream: Whether it is a stream.
        max_expansion: Of compressed batches, and of values that are used many times. See
            `streams.Bound`.

    Raises:
        FileError: The file is damaged or a bomb; rows before the damage were yielded.
    """
    try:
        with pa.memory_map(str(path)) as file:
            whole = file.read_buffer()
            bound = Bound(whole.size, max_expansion)
            yield from read_batches(measured(_batches(whole, bound, stream=stream), bound))
    except struct.error as error:
        raise FileError("cannot be read as Arrow: a message points out of itself") from error
    except (pa.ArrowException, OSError, ValueError) as error:
        raise FileError(f"cannot be read as Arrow: {first_line(error)}") from error


def _batches(
    whole: pa.Buffer, bound: Bound, *, stream: bool
) -> Iterator[tuple[str, pa.RecordBatch]]:
    """The batches with their places, each looked at before it is decompressed, then checked."""
    listed = None if stream else pa.ipc.open_file(whole).num_record_batches
    messages = whole if stream else whole.slice(_HEAD)
    reader = pa.ipc.open_stream(pa.BufferReader(messages))
    number = unpacked = 0
    for message in pa.ipc.MessageReader.open_stream(pa.BufferReader(messages)):
        if number == listed:
            return
        place = f"record batch {number + 1}"
        unpacked += unpacked_bytes(message)
        bound.check(unpacked, place=place)
        if message.type == "record batch":
            number += 1
            batch = reader.read_next_batch()
            # An offset that points out of its buffer would end the process.
            batch.validate(full=True)
            yield place, batch
    if listed not in (None, number):
        raise FileError(f"cannot be read as Arrow: of {listed} record batches {number} are there")


def unpacked_bytes(message: pa.ipc.Message) -> int:
    """Bytes of all buffers of a message once they are decompressed, by its own account.

    Arrow decompresses a buffer to the length that stands before it, and to no other.

    Raises:
        struct.error: The message is damaged.
    """
    if message.type not in ("record batch", "dictionary"):
        return 0
    table = _Table.root(message.metadata).table(2)  # Message.header
    if table is not None and message.type == "dictionary":
        table = table.table(1)  # DictionaryBatch.data
    buffers = None if table is None else table.at(2)  # RecordBatch.buffers
    if table is None or buffers is None:
        return 0
    compressed = table.at(3) is not None  # RecordBatch.compression
    start = _follow(table.data, buffers)
    (count,) = struct.unpack_from("<I", table.data, start)
    total = 0
    for number in range(count):
        offset, length = struct.unpack_from("<qq", table.data, start + 4 + 16 * number)
        if compressed and length:
            (told,) = struct.unpack_from("<q", message.body, offset)
            length = length if told == _AS_IT_IS else told
        total += max(0, length)
    return total


_AS_IT_IS: Final = -1
"""In place of the length of a buffer that is not compressed after all."""


class _Table:
    """A table of a flatbuffer, in which Arrow writes what a message holds.

    Its place holds the distance back to a list of where its fields are; 0 is for those that are
    not there.
    """

    def __init__(self, data: pa.Buffer, place: int) -> None:
        self.data = data
        self._place = place

    @classmethod
    def root(cls, data: pa.Buffer) -> _Table:
        return cls(data, _follow(data, 0))

    def at(self, field: int) -> int | None:
        """Where a field's value is, None if it has none; fields are numbered as declared."""
        (back,) = struct.unpack_from("<i", self.data, self._place)
        (size,) = struct.unpack_from("<H", self.data, self._place - back)
        entry = 4 + 2 * field
        if entry >= size:
            return None
        (offset,) = struct.unpack_from("<H", self.data, self._place - back + entry)
        return self._place + offset if offset else None

    def table(self, field: int) -> _Table | None:
        """A field that is a table itself."""
        place = self.at(field)
        return None if place is None else _Table(self.data, _follow(self.data, place))


def _follow(data: pa.Buffer, place: int) -> int:
    """Where the offset at `place` leads."""
    (offset,) = struct.unpack_from("<I", data, place)
    return place + int(offset)
