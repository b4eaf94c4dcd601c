"""Rows of Parquet files, a batch at a time, however often a dictionary repeats a text.

A column's dictionary holds a text once and its pages say where it stands. Arrow can leave it so,
which takes little memory, or write the text out for every use, which reads faster.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pyarrow.types as kinds

from clear_pipeline.load.arrow_rows import first_line, read_batches
from clear_pipeline.load.arrow_size import measured, rows_at_once
from clear_pipeline.load.events import FileError, Raw
from clear_pipeline.load.streams import FREE_BYTES, Bound

_TEXT: Final = "BYTE_ARRAY"
_WIDTHS: Final = {_TEXT: 4, "BOOLEAN": 1, "INT32": 4, "FLOAT": 4, "INT64": 8, "DOUBLE": 8}
"""Bytes that a value takes at least, by its physical type: a text those of its offset."""
_WIDEST: Final = 12
_DICTIONARY: Final = frozenset({"PLAIN_DICTIONARY", "RLE_DICTIONARY"})
_FOLDED: Final = _DICTIONARY | {"PLAIN", "RLE", "BIT_PACKED"}
"""Encodings of texts that Arrow can read without writing the dictionary's out."""
_REPEATING: Final = _DICTIONARY | {"DELTA_BYTE_ARRAY"}
"""Encodings in which a text may stand once for many values."""


def read_parquet(path: Path, *, max_expansion: int) -> Iterator[Raw]:
    """Rows of a Parquet file; at most a batch and the pages it comes from are in memory.

    All columns are decoded once, value by value, before the first row is read.

    Args:
        path: The file.
        max_expansion: Of its pages by its own account, and of its rows: a value that a dictionary
            repeats stands in the file once. See `streams.Bound`.

    Raises:
        FileError: The file is damaged, or a bomb; the rows before a bomb may have been yielded.
    """
    try:
        bound = Bound(path.stat().st_size, max_expansion)
        with _opened(path) as plain:
            groups = [plain.metadata.row_group(number) for number in range(plain.num_row_groups)]
            bound.check(sum(group.total_byte_size for group in groups))
            # What the file tells of its columns ends the process where it is damaged, unless it
            # was looked at on the way to the pages. The scan ends at a page without a value, as
            # Arrow itself may write, so it must not compare the rows of columns: each by itself.
            for index in range(plain.metadata.num_columns):
                plain.scan_contents([plain.schema.column(index).path], batch_size=1)
            leaves = _leaves(plain)
            with _opened(path, [leaf.path for leaf in leaves if leaf.foldable]) as folded:
                batches = _batches(plain, folded, leaves, bound)
                yield from read_batches(measured(batches, bound))
    except (pa.ArrowException, OSError, ValueError) as error:
        raise FileError(f"cannot be read as Parquet: {first_line(error)}") from error


def _opened(path: Path, folded: list[str] | None = None) -> pq.ParquetFile:
    return pq.ParquetFile(path, read_dictionary=folded, pre_buffer=False, buffer_size=1 << 16)


@dataclass(frozen=True, slots=True)
class _Leaf:
    """A column of plain values: one of the table, or a part of one.

    Attributes:
        path: Its name, with those of the columns that it is a part of.
        text: Whether its values have lengths of their own.
        width: Bytes that a value takes at least.
        listed: Whether a row may have several values.
        foldable: Whether it holds texts that Arrow can leave in the dictionary.
    """

    path: str
    text: bool
    width: int
    listed: bool
    foldable: bool


def _leaves(file: pq.ParquetFile) -> list[_Leaf]:
    """In the order of the file."""
    groups = [file.metadata.row_group(number) for number in range(file.num_row_groups)]
    leaves = []
    for index in range(file.metadata.num_columns):
        column = file.schema.column(index)
        encodings = {name for group in groups for name in group.column(index).encodings}
        text = column.physical_type == _TEXT
        leaves.append(
            _Leaf(
                column.path,
                text,
                _WIDTHS.get(column.physical_type, max(column.length, _WIDEST)),
                listed=column.max_repetition_level > 0,
                foldable=text and encodings <= _FOLDED,
            )
        )
    return leaves


def _batches(
    plain: pq.ParquetFile, folded: pq.ParquetFile, leaves: list[_Leaf], bound: Bound
) -> Iterator[tuple[str, pa.RecordBatch]]:
    """The batches with their places. What a row group becomes in any case is bounded before."""
    groups = [plain.metadata.row_group(number) for number in range(plain.num_row_groups)]
    bound.check(sum(_least(group, leaves) for group in groups))
    for number, group in enumerate(groups):
        if group.num_rows:
            file, rows = _way(number, plain, folded, leaves, bound)
            for batch in file.iter_batches(batch_size=rows, row_groups=[number]):
                yield f"row group {number + 1}", batch


def _least(group: pq.RowGroupMetaData, leaves: list[_Leaf]) -> int:
    """Bytes that a row group becomes in any case, nulls counted as values."""
    return sum(group.column(i).num_values * leaf.width for i, leaf in enumerate(leaves))


def _way(
    number: int, plain: pq.ParquetFile, folded: pq.ParquetFile, leaves: list[_Leaf], bound: Bound
) -> tuple[pq.ParquetFile, int]:
    """How to read a row group: which of the two, and how many rows at a time.

    Where texts may be long, few rows are taken at a time. But how many values the lists of a row
    have is not known: even one row may become all that the group can. If that is more than the
    file may become, texts stay in the dictionary until the rows are measured, and so do those of
    small groups. Not those of large ones, since what stood in no dictionary is then collected
    there as well.
    """
    group = plain.metadata.row_group(number)
    least = max(group.total_byte_size, _least(group, leaves))
    few = rows_at_once(group.num_rows, least)
    repeated = [
        (leaf, group.column(i).num_values * _longest(folded, number, i, leaf, rows=few))
        for i, leaf in enumerate(leaves)
        if leaf.text
    ]
    lists = sum(become for leaf, become in repeated if leaf.listed and leaf.foldable)
    rigid = sum(become for leaf, become in repeated if not leaf.foldable)
    most = least + sum(become for _, become in repeated)
    small = group.total_byte_size <= FREE_BYTES
    if bound.allows(least + lists) and (bound.allows(most) or not small):
        return plain, min(few, rows_at_once(group.num_rows, most, room=FREE_BYTES))
    return folded, min(few, rows_at_once(group.num_rows, least + rigid, room=FREE_BYTES))


def _longest(folded: pq.ParquetFile, number: int, index: int, leaf: _Leaf, *, rows: int) -> int:
    """Bytes of the longest text that may stand once for many values; 0 if there is none.

    It is in the dictionary, which is read with the first `rows` rows. Where that is not to be had,
    no text is longer than the column.
    """
    chunk = folded.metadata.row_group(number).column(index)
    if leaf.foldable:
        batches = folded.iter_batches(batch_size=rows, row_groups=[number], columns=[leaf.path])
        columns = [column for batch in islice(batches, 1) for column in batch.columns]
        arrays = [array for column in columns for array in _folded(column)]
        lengths = [pc.max(pc.binary_length(array.dictionary)).as_py() or 0 for array in arrays]
        if longest := max(lengths, default=0):
            return int(longest)
    return int(chunk.total_uncompressed_size) if _REPEATING & set(chunk.encodings) else 0


def _folded(array: pa.Array) -> Iterator[pa.DictionaryArray]:
    """The arrays in an array whose texts are in a dictionary."""
    kind = array.type
    if kinds.is_dictionary(kind):
        yield array
    elif kinds.is_struct(kind):
        for index in range(kind.num_fields):
            yield from _folded(array.field(index))
    elif kind.num_fields:  # a list or a map
        yield from _folded(array.values)
