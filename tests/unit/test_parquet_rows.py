"""Long Parquet files are read in batches that memory has room for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from clear_pipeline.parquet_rows import parquet_batches

GROUP = 10_000


@pytest.fixture
def long(tmp_path: Path) -> Path:
    """40 groups of 80,000 bytes that do not compress, beside their numbers."""
    path = tmp_path / "long.parquet"
    draw = np.random.default_rng(0)
    schema = pa.schema([("noise", pa.int64()), ("number", pa.int32())])
    with pq.ParquetWriter(path, schema) as writer:
        for group in range(40):
            numbers = np.arange(group * GROUP, (group + 1) * GROUP, dtype=np.int32)
            noise = draw.integers(0, 1 << 62, GROUP)
            writer.write_table(pa.table([noise, numbers], schema=schema))
    return path


def test_memory_holds_a_batch_and_not_what_was_read(long: Path) -> None:
    """Of 3.2 MB of noise less than a third is held at any time."""
    before = pa.total_allocated_bytes()
    held = [pa.total_allocated_bytes() - before for _ in parquet_batches(long, rows=GROUP)]
    assert len(held) == 40
    assert max(held) < 1_000_000


def test_rows_come_in_order_and_columns_as_asked(long: Path) -> None:
    """Batches of 3,000 rows run over the ends of groups and lose none."""
    batches = list(parquet_batches(long, ["number"], rows=3_000))
    assert {tuple(batch.schema.names) for batch in batches} == {("number",)}
    assert max(batch.num_rows for batch in batches) == 3_000
    numbers = np.concatenate([batch["number"].to_numpy() for batch in batches])
    assert numbers.tolist() == list(range(40 * GROUP))
