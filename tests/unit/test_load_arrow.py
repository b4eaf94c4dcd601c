"""What the values of an Arrow table take once each stands as often as it is used."""

from __future__ import annotations

import io
from typing import Any

import pyarrow as pa
import pytest

from clear_pipeline.load.arrow_reader import unpacked_bytes
from clear_pipeline.load.arrow_size import decoded
from clear_pipeline.load.events import FileError

THREE = pa.DictionaryArray.from_arrays(pa.array([0, 1, 0, None], pa.int8()), ["a" * 100, "b"])
"""Indices of 4 bytes and a validity of 1; texts of 100, 1 and 100 bytes. Of offsets, which take 4
bytes each, Arrow counts one per text."""
VIEWS = pa.array(["a" * 100, None, "bc", "d"], pa.string_view())


@pytest.mark.parametrize(
    ("array", "size"),
    [
        (pa.array(["abc", "d"]), 4 + 8),
        (THREE, 5 + 201),
        (THREE.slice(1, 1), 1 + 1 + 1),
        (pa.ListArray.from_arrays([0, 1, 4], THREE), 12 + 5 + 201),
        (pa.ListArray.from_arrays([0, 1, 4], THREE).slice(0, 1), 8 + 1 + 1 + 100),
        (pa.FixedSizeListArray.from_arrays(THREE, 2), 5 + 201),
        (pa.StructArray.from_arrays([THREE, VIEWS], ["x", "y"]), 5 + 201 + 103),
        (pa.MapArray.from_arrays([0, 2], pa.array(["k", "l"]), THREE[:2]), 8 + 10 + 3 + 101),
        (VIEWS, 103),
        (VIEWS.slice(2), 3),
        (pa.DictionaryArray.from_arrays(pa.array([0, 0, 1, 2], pa.int8()), VIEWS), 4 + 202),
        (pa.DictionaryArray.from_arrays(pa.array([None, None], pa.int8()), pa.nulls(0)), 2 + 1),
        (pa.DictionaryArray.from_arrays(pa.array([0] * 9), pa.array([7], pa.int64())), 9 * 9),
    ],
)  # fmt: skip
def test_each_value_counts_as_often_as_it_is_used(array: pa.Array, size: int) -> None:
    """In dictionaries, of views and of nothing too, in views, lists, structs, maps, and slices."""
    array.validate(full=True)
    assert decoded(array) == size


@pytest.mark.parametrize(
    "array",
    [
        pa.RunEndEncodedArray.from_arrays([1000], ["a"]),
        pa.array([["a"]], pa.list_view(pa.string())),
        pa.UnionArray.from_dense(
            pa.array([0, 0], pa.int8()), pa.array([0, 0], pa.int32()), [pa.array(["a"])]
        ),
        pa.DictionaryArray.from_arrays(pa.array([0, 0]), pa.array([["a"]])),
    ],
)
def test_what_cannot_be_measured_is_refused(array: pa.Array) -> None:
    """Types in which a value may stand for many, and that no training data has, name the remedy."""
    with pytest.raises(FileError, match="is not read; cast it to a plain type"):
        decoded(array)
    with pytest.raises(FileError, match="is not read; cast it to a plain type"):
        decoded(pa.StructArray.from_arrays([array], ["x"]))


def _messages(codec: str | None) -> list[Any]:
    """A schema, a dictionary and a batch; the texts are 1,000, 3 and 2 bytes long."""
    names = pa.DictionaryArray.from_arrays(pa.array([0, 1], pa.int8()), ["a" * 1000, "bcd"])
    batch = pa.record_batch({"n": names, "t": pa.array(["x", "y"])})
    sink = io.BytesIO()
    options = pa.ipc.IpcWriteOptions(compression=codec)
    with pa.ipc.new_stream(sink, batch.schema, options=options) as writer:
        writer.write_batch(batch)
    return list(pa.ipc.MessageReader.open_stream(pa.BufferReader(sink.getvalue())))


@pytest.mark.parametrize("codec", [None, "zstd", "lz4"])
def test_a_message_tells_what_it_becomes(codec: str | None) -> None:
    """Offsets and texts of the dictionary, then the indices, offsets and texts of the batch."""
    sizes = [unpacked_bytes(message) for message in _messages(codec)]
    assert sizes == [0, 12 + 1003, 2 + 12 + 2]
