"""Training rows in any number for `million.py`: six files, four formats, known faults.

Row `i` depends on `i` alone. In every 1,000 rows one has an empty response, ten repeat an earlier
row word for word, and ten repeat an earlier row but for one word.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import random
import shutil
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

VERSION: Final = 1
"""Part of the directory's name; raised when rows change."""
_SYLLABLES: Final = ("ba", "ce", "di", "fo", "gu", "ha", "li", "mo", "ne", "pu", "ra", "si", "to")
_WORDS: Final = tuple(a + b + c for a in _SYLLABLES for b in _SYLLABLES for c in _SYLLABLES)
_COPY_AT, _NEAR_AT, _BAD_AT = 50, 80, 507
"""Where in a hundred rows, or in a thousand, the copies and the bad row stand."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row, whatever the format. `response` is empty in a row that cannot be used."""

    number: int
    prompt: str
    response: str


def row(number: int) -> Row:
    """The row of that number."""
    if number % 1000 == _BAD_AT:
        return Row(number, _text(number, 12), "")
    source = number
    if number % 100 in (_COPY_AT, _NEAR_AT):
        source = number - 17  # in another file
    prompt, response = _text(source, 12), _text(-source - 1, 45)
    if number % 100 == _NEAR_AT:
        response += f" {_WORDS[number % len(_WORDS)]}"
    return Row(number, prompt, response)


def unusable(rows: int) -> int:
    """How many of the first `rows` rows have no response."""
    return (rows + 1000 - _BAD_AT - 1) // 1000


def copies(rows: int) -> int:
    """How many of the first `rows` rows repeat an earlier one word for word."""
    return (rows + 100 - _COPY_AT - 1) // 100


def written(rows: int, root: Path) -> Path:
    """The directory with the first `rows` rows, below `root`; made unless it is there.

    Raises:
        OSError: It cannot be written.
    """
    directory = root / f"rows-{rows}-v{VERSION}"
    if directory.is_dir():
        return directory
    unfinished = root / f".{directory.name}.tmp"
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    with ExitStack() as stack:
        put = [opened(unfinished, stack) for opened in _FILES]
        for number in range(rows):
            put[number % len(put)](row(number))
    unfinished.rename(directory)
    return directory


_Put = Callable[[Row], Any]


def _alpaca(folder: Path, stack: ExitStack) -> _Put:
    file = stack.enter_context((folder / "alpaca.jsonl").open("w", encoding="utf-8"))
    return lambda r: _line(
        file, {"id": r.number, "instruction": r.prompt, "input": "", "output": r.response}
    )


def _chat(folder: Path, stack: ExitStack) -> _Put:
    file = stack.enter_context((folder / "chat.jsonl").open("w", encoding="utf-8"))
    return lambda r: _line(file, {"messages": _turns(r)})


def _chat_gzip(folder: Path, stack: ExitStack) -> _Put:
    path = folder / "chat.jsonl.gz"
    file = stack.enter_context(gzip.open(path, "wt", encoding="utf-8", compresslevel=1))  # noqa: SIM115
    return lambda r: _line(file, {"messages": _turns(r)})


def _pairs_zstd(folder: Path, stack: ExitStack) -> _Put:
    out = stack.enter_context(pa.CompressedOutputStream(str(folder / "pairs.jsonl.zst"), "zstd"))
    file = stack.enter_context(io.TextIOWrapper(out, encoding="utf-8"))
    return lambda r: _line(file, {"prompt": r.prompt, "completion": r.response})


def _pairs_csv(folder: Path, stack: ExitStack) -> _Put:
    path = folder / "pairs.csv"
    writer = csv.writer(stack.enter_context(path.open("w", encoding="utf-8", newline="")))
    writer.writerow(["prompt", "completion"])
    return lambda r: writer.writerow([r.prompt, r.response])


def _pairs_parquet(folder: Path, stack: ExitStack) -> _Put:
    schema = pa.schema([("prompt", pa.string()), ("completion", pa.string())])
    writer = stack.enter_context(pq.ParquetWriter(folder / "pairs.parquet", schema))
    waiting: list[dict[str, str]] = []

    def flush() -> None:
        writer.write_table(pa.Table.from_pylist(waiting, schema=schema))
        waiting.clear()

    def put(r: Row) -> None:
        waiting.append({"prompt": r.prompt, "completion": r.response})
        if len(waiting) == 10_000:
            flush()

    stack.callback(flush)
    return put


_FILES: Final = (_alpaca, _chat, _chat_gzip, _pairs_zstd, _pairs_csv, _pairs_parquet)


def _line(file: io.TextIOBase, record: dict[str, Any]) -> None:
    file.write(json.dumps(record) + "\n")


def _turns(r: Row) -> list[dict[str, str]]:
    return [
        {"role": "user", "content": r.prompt},
        {"role": "assistant", "content": r.response},
    ]


def _text(seed: int, words: int) -> str:
    return " ".join(random.Random(seed).choices(_WORDS, k=words))
