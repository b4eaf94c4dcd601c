"""Rows of a file whatever its columns are, for files that are compared with and not trained on."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Final

from clear_pipeline.formats import FORMATS
from clear_pipeline.load.detect import DELIMITERS, open_source
from clear_pipeline.load.events import FileError, Raw, UnknownColumnsError
from clear_pipeline.load.settings import LoadSettings
from clear_pipeline.load.streams import Line, chunks, lines
from clear_pipeline.load.text_readers import header, read_csv

TEXT_COLUMN: Final = "text"
"""Of the records of a plain text."""
_SETTINGS: Final = LoadSettings(max_line_bytes=1 << 30)


def read_records(path: Path) -> Iterator[Raw]:
    """Rows of JSONL, JSON, CSV, Parquet or Arrow with any columns, or the items of a plain text.

    A file with `.txt` in its name is plain text. Its items are the paragraphs between blank lines;
    without a blank line between two lines, each line is one. Their records have one column,
    `TEXT_COLUMN`. A CSV begins with a line of column names.

    Raises:
        FileError: It is empty, damaged, or nothing that has rows; also later, while rows are taken.
    """
    try:
        if ".txt" in path.suffixes:
            return _items(path)
        return open_source(path, _SETTINGS, list(FORMATS.values())).rows
    except UnknownColumnsError:
        return read_csv(_lines(path), _SETTINGS, delimiter=_delimiter(path))


def _lines(path: Path) -> Iterator[Line]:
    pieces = chunks(path, max_expansion=_SETTINGS.max_expansion)
    return lines(pieces, _SETTINGS.max_line_bytes)


def _delimiter(path: Path) -> str:
    """The one that cuts the line of column names into most names."""
    first = next(_lines(path)).data.decode("utf-8", "replace").rstrip("\r")
    return max(DELIMITERS, key=lambda delimiter: len(header(first, delimiter)))


def _items(path: Path) -> Iterator[Raw]:
    """The items of a plain text, each with the number of its first line."""
    first = next(_lines(path), None)
    if first is None:
        raise FileError("empty")
    by_line = not _has_paragraphs(path)
    return _joined(_lines(path), by_line=by_line)


def _has_paragraphs(path: Path) -> bool:
    """Whether a blank line stands between two that are not."""
    begun = blank = False
    for line in _lines(path):
        filled = bool(line.data.strip())
        if filled and blank:
            return True
        begun = begun or filled
        blank = begun and not filled
    return False


def _joined(source: Iterator[Line], *, by_line: bool) -> Iterator[Raw]:
    held: list[Line] = []
    for line in chain(source, [Line(0, b"", too_long=False)]):
        if line.data.strip():
            held.append(line)
        if held and (by_line or not line.data.strip()):
            yield _item(held)
            held = []


def _item(held: list[Line]) -> Raw:
    number = held[0].number
    try:
        text = b"\n".join(line.data for line in held).decode("utf-8")
    except UnicodeDecodeError as error:
        return Raw(number, None, None, f"invalid UTF-8 at byte {error.start + 1} of the text")
    return Raw(number, {TEXT_COLUMN: text})
