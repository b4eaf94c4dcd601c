"""A kept index: what dedup must know of the rows of an earlier run, so that new rows are compared.

It holds hashes of words, places and sizes, and no text.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from clear_pipeline.durable import file_sha256, write_atomically
from clear_pipeline.errors import UsageError
from clear_pipeline.parquet_rows import parquet_batches
from clear_pipeline.stages.dedup.characters import Unit
from clear_pipeline.stages.dedup.corpus import Looked, Words
from clear_pipeline.stages.dedup.spill import packed, unpacked
from clear_pipeline.stages.dedup.words import U64, VERSION, bounds

T = TypeVar("T", bound=np.generic)

_SCHEMA: Final = pa.schema(
    [
        pa.field("file", pa.string(), nullable=False),
        pa.field("line", pa.int64(), nullable=False),
        pa.field("content_1", pa.uint64(), nullable=False),
        pa.field("content_2", pa.uint64(), nullable=False),
        pa.field("characters", pa.int64(), nullable=False),
        pa.field("prompt", pa.list_(pa.uint64()), nullable=False),
        pa.field("response", pa.list_(pa.uint64()), nullable=False),
    ]
)
"""`content_1` and `content_2` are the halves of the content hash; `prompt` and `response` the words
as `spill.packed` writes them."""
_KIND: Final = b"clear-pipeline dedup index"
_UNIT: Final = b"unit"
_WORDS: Final = b"words"
_BATCH: Final = 4096


@dataclass(frozen=True, slots=True)
class KeptIndex:
    """One index file.

    Attributes:
        name: What its rows are told by, before their own ids.
        path: Where it lies.
        sha256: Of its bytes.
    """

    name: str
    path: Path
    sha256: str

    @classmethod
    def open(cls, path: Path, unit: Unit) -> KeptIndex:
        """Check a file that is said to be an index.

        Args:
            path: The file.
            unit: That the words of the rows to compare with it have.

        Raises:
            UsageError: It is not there, is no index, or one of other words.
        """
        try:
            told = pq.read_schema(path).metadata or {}
        except OSError as error:
            raise UsageError(_not_one(path, error.strerror or "no such file")) from None
        except pa.ArrowException:
            raise UsageError(_not_one(path, "is no index")) from None
        if _KIND not in told:
            raise UsageError(_not_one(path, "is no index"))
        words, made_of = told.get(_WORDS, b"").decode(), told.get(_UNIT, b"").decode()
        if words != str(VERSION):
            raise UsageError(_not_one(path, "was made by a version that cuts texts otherwise"))
        if made_of != unit:
            raise UsageError(
                f"{path}: its words are {made_of}s, those of this run {unit}s; set "
                f"dedup.unit={made_of}, or make the index anew with --unit {unit}"
            )
        return cls(path.name, path, file_sha256(path))

    def rows(self) -> Iterator[Looked]:
        """Its rows, some at a time."""
        return map(_looked, parquet_batches(self.path, rows=_BATCH))


def write_index(path: Path, rows: Iterable[Looked], unit: Unit) -> int:
    """Write an index, durably.

    Args:
        path: Where.
        rows: What it shall hold.
        unit: What their words are.

    Returns:
        How many rows it has.
    """
    told = {_KIND: b"1", _UNIT: unit.encode(), _WORDS: str(VERSION).encode()}
    schema = _SCHEMA.with_metadata(told)
    written = 0

    def write(temporary: Path) -> None:
        nonlocal written
        with pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
            for looked in rows:
                table = _table(looked)
                written += table.num_rows
                writer.write_table(table.cast(schema))

    write_atomically(path, write)
    return written


def _not_one(path: Path, why: str) -> str:
    return f"{path}: {why}; an index of a finished run: clear-pipeline index RUN --out FILE"


def _table(looked: Looked) -> pa.Table:
    words = {
        name: pa.ListArray.from_arrays(tokens.offsets.astype(np.int32), packed(tokens))
        for name, tokens in (
            ("prompt", looked.prompts.tokens),
            ("response", looked.responses.tokens),
        )
    }
    return pa.table(
        {
            "file": looked.files,
            "line": looked.lines,
            "content_1": looked.content[:, 0],
            "content_2": looked.content[:, 1],
            "characters": looked.characters,
            **words,
        },
        schema=_SCHEMA,
    )


def _looked(batch: pa.RecordBatch) -> Looked:
    content = [_numbers(batch, name) for name in ("content_1", "content_2")]
    return Looked(
        positions=np.zeros(batch.num_rows, np.int64),
        files=batch["file"],
        lines=batch["line"].to_numpy(),
        content=np.stack(content, axis=1),
        characters=batch["characters"].to_numpy(),
        prompts=_words(batch["prompt"]),
        responses=_words(batch["response"]),
    )


def _numbers(batch: pa.RecordBatch, name: str) -> U64:
    numbers: U64 = batch[name].to_numpy()
    return numbers


def _words(lists: pa.ListArray) -> Words:
    lengths = np.diff(lists.offsets.to_numpy()).astype(np.int64)
    tokens = unpacked(lists.flatten().to_numpy(), bounds(lengths))
    return Words(tokens, tokens.whole())
