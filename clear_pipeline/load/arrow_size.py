"""What rows of Arrow tables take as Python objects, and how many of them may be at once.

In a table a value may stand once and be used any number of times; as objects it stands as often.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as kinds

from clear_pipeline.load.events import FileError
from clear_pipeline.load.streams import Bound

BATCH_ROWS: Final = 1000
"""Rows that are taken out of a table at a time, fewer where they are long."""
_BATCH_BYTES: Final = 1 << 22
_TEXTS: Final = (pa.string(), pa.large_string(), pa.binary(), pa.large_binary())
_VIEWS: Final = (pa.string_view(), pa.binary_view())
_VIEW_INTS: Final = 4
"""A view is four 32-bit integers, of which the first is the text's length."""


def rows_at_once(rows: int, size: int, *, room: int = _BATCH_BYTES) -> int:
    """How many of `rows` rows, of `size` bytes together, fit into `room` bytes.

    By default those that may become Python objects at once; never more than `BATCH_ROWS`.
    """
    return max(1, min(BATCH_ROWS, rows * room // max(1, size)))


def measured(
    batches: Iterable[tuple[str, pa.RecordBatch]], bound: Bound
) -> Iterator[pa.RecordBatch]:
    """The batches of a file in pieces that may become Python objects at once.

    Args:
        batches: Each with its place in the file.
        bound: Of the file.

    Raises:
        FileError: The file is a bomb; the batches before were yielded.
    """
    done = 0
    for place, batch in batches:
        done += _decoded_rows(batch)
        bound.check(done, place=place)
        yield from _pieces(batch)


def _pieces(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """Halves, and halves of those, down to what is small enough or one row."""
    small = batch.num_rows <= BATCH_ROWS and _decoded_rows(batch) <= _BATCH_BYTES
    if small or batch.num_rows == 1:
        yield batch
        return
    middle = batch.num_rows // 2
    yield from _pieces(batch.slice(0, middle))
    yield from _pieces(batch.slice(middle))


def _decoded_rows(batch: pa.RecordBatch) -> int:
    return sum(map(decoded, batch.columns))


def decoded(array: pa.Array) -> int:
    """Bytes of a column in which each value stands as often as it is used.

    Raises:
        FileError: Its type does not let tell.
    """
    if not _shares(array.type):
        return int(array.nbytes)
    if kinds.is_dictionary(array.type):
        return _looked_up(array)
    if array.type in _VIEWS:
        return int(pc.sum(_lengths(array)).as_py() or 0)
    return sum(map(decoded, _parts(array)))


def _looked_up(array: pa.DictionaryArray) -> int:
    kind = array.type.value_type
    if kind in _TEXTS or kind in _VIEWS:
        lengths = _lengths(array.dictionary)
        return int(array.indices.nbytes + (pc.sum(lengths.take(array.indices)).as_py() or 0))
    if kinds.is_null(kind):  # of a column without a value
        return int(array.indices.nbytes)
    if kinds.is_primitive(kind) or kinds.is_decimal(kind) or kinds.is_fixed_size_binary(kind):
        return len(array) * (int(kind.bit_width) // 8 + 1)
    raise FileError(f"a dictionary of type {kind} is not read; cast it to a plain type")


def _lengths(texts: pa.Array) -> pa.Array:
    """Of each text, in bytes; null for null."""
    if texts.type not in _VIEWS:
        return pc.binary_length(texts)
    ints = np.frombuffer(texts.buffers()[1], np.int32)
    lengths = ints[_VIEW_INTS * texts.offset :: _VIEW_INTS][: len(texts)]
    return pa.array(lengths, pa.int64(), mask=texts.is_null().to_numpy(zero_copy_only=False))


def _parts(array: pa.Array) -> list[pa.Array]:
    """The arrays that an array is made of, as far as its rows reach."""
    kind = array.type
    if isinstance(kind, pa.BaseExtensionType):
        return [array.storage]
    if kinds.is_struct(kind):
        return list(array.flatten())
    if kinds.is_fixed_size_list(kind):
        return [array.flatten()]
    if kinds.is_list(kind) or kinds.is_large_list(kind) or kinds.is_map(kind):
        begin, end = array.offsets[0].as_py(), array.offsets[-1].as_py()
        return [array.offsets, array.values.slice(begin, end - begin)]
    raise FileError(f"a column of type {kind} is not read; cast it to a plain type")


def _shares(kind: pa.DataType) -> bool:
    """Whether an array of this type may use one value many times."""
    if isinstance(kind, pa.BaseExtensionType):
        return _shares(kind.storage_type)
    if kinds.is_list_view(kind) or kinds.is_large_list_view(kind) or kinds.is_union(kind):
        return True
    if kinds.is_dictionary(kind) or kinds.is_run_end_encoded(kind) or kind in _VIEWS:
        return True
    return any(_shares(kind.field(n).type) for n in range(kind.num_fields))
