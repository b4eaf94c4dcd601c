"""Loading holds a bounded part of its input, measured as the peak of a process of its own."""

from __future__ import annotations

import gzip
import json
import random
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

HUGE = 144 << 20
SPARE = 100 << 20
"""Bytes that loading may take beyond what the process has after its imports."""

PROGRAM = textwrap.dedent(
    """
    import sys
    from collections import Counter
    import pyarrow.parquet
    from clear_pipeline.load import LoadSettings, LoadedShard, discover

    def peak():
        with open("/proc/self/status") as status:
            return next(int(l.split()[1]) << 10 for l in status if l.startswith("VmHWM"))

    before = peak()
    rows, other = 0, Counter()
    for event in discover(sys.argv[1]).inputs[0].load(LoadSettings()):
        if isinstance(event, LoadedShard):
            rows += event.table.num_rows
        else:
            other[type(event).__name__] += 1
    print(peak() - before, rows, *(f"{n} {kind}" for kind, n in other.items()))
    """
)

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="peak memory is read from /proc, which is Linux"
)


def loaded(path: Path) -> tuple[int, str]:
    """Load a file in a process of its own: peak bytes beyond its start; rows and other events."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(path)],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    peak, _, events = done.stdout.strip().partition(" ")
    return int(peak), events


def _row(answer: str) -> bytes:
    return json.dumps({"prompt": "Q", "completion": answer}).encode()


def _gzip(path: Path, start: bytes, end: bytes, *, piece: bytes = b"x") -> None:
    """`start`, 144 MiB of repeated `piece`, `end`; a gzip of it takes a megabyte."""
    block = piece * ((1 << 20) // len(piece))
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(start)
        for _ in range(HUGE >> 20):
            file.write(block)
        file.write(end)


def _long_line(path: Path) -> None:
    _gzip(path, _row("1") + b'\n{"prompt": "', b'"}\n' + _row("2") + b"\n")


def _long_item(path: Path) -> None:
    _gzip(path, b"[" + _row("1") + b', {"prompt": "', b'"}, ' + _row("2") + b"]")


def _long_nesting(path: Path) -> None:
    _gzip(path, b"[" + _row("1") + b",", b"", piece=b"[")


def _blank_lines(path: Path) -> None:
    _gzip(path, _row("1"), _row("2"), piece=b" " * 1023 + b"\n")


def _parquet(path: Path) -> None:
    """72 rows of 2 MiB, beyond the limit, in one row group of many pages; hardly compressible."""
    texts = [random.Random(number).randbytes(1 << 20).hex() + "." for number in range(72)]
    table = pa.table({"prompt": ["Q"] * 72, "completion": texts})
    pq.write_table(table, path, compression="zstd", use_dictionary=False, write_batch_size=1)


def _repeated(uses: int) -> pa.DictionaryArray:
    """One text of 1.5 MiB, used again and again."""
    return pa.DictionaryArray.from_arrays(pa.array([0] * uses, pa.int32()), ["x" * (3 << 19)])


def _dictionary(path: Path) -> None:
    """1.5 GiB in 1,000 rows out of a few hundred bytes, all of it in the first batch."""
    table = pa.table({"prompt": _repeated(1000), "completion": ["b"] * 1000})
    pq.write_table(table, path, compression="zstd", store_schema=False)
    assert path.stat().st_size < 2000


def _dictionary_in_one_row(path: Path) -> None:
    """The same in the turns of a single conversation."""
    turns = pa.StructArray.from_arrays(
        [pa.array(["user"] * 1000), _repeated(1000)], ["role", "content"]
    )
    table = pa.table({"messages": pa.ListArray.from_arrays([0, 1000], turns)})
    pq.write_table(table, path, compression="zstd", store_schema=False)
    assert path.stat().st_size < 2000


def _packed_batch(path: Path) -> None:
    """144 MiB of equal letters in the one batch of an Arrow file."""
    table = pa.table({"prompt": ["x" * (1 << 20)] * 144, "completion": ["b"] * 144})
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.ipc.new_file(str(path), table.schema, options=options) as writer:
        writer.write_table(table)


@pytest.mark.parametrize(
    ("write", "expected"),
    [
        (_long_line, "2 1 FileFacts 1 Quarantined"),
        (_long_item, "2 1 FileFacts 1 Quarantined"),
        (_long_nesting, "1 1 FileFacts 1 Quarantined 1 Problem"),
        (_blank_lines, "2 1 FileFacts"),
        (_parquet, "0 1 FileFacts 72 Quarantined"),
        (_dictionary, "0 1 Skipped"),
        (_dictionary_in_one_row, "0 1 Skipped"),
        (_packed_batch, "0 1 Skipped"),
    ],
)
def test_memory_does_not_grow_with_the_input(
    write: Callable[[Path], None], expected: str, tmp_path: Path
) -> None:
    """144 MiB or more in a line, item, nesting, row group or batch: within 100 MiB."""
    path = tmp_path / "data"
    write(path)

    peak, events = loaded(path)

    assert events == expected
    assert peak < SPARE
