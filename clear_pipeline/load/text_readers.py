"""Rows of JSONL and CSV files, by physical line."""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from clear_pipeline.formats import RowError, parse
from clear_pipeline.formats.base import kind
from clear_pipeline.load.events import FileError, Raw
from clear_pipeline.load.settings import LoadSettings
from clear_pipeline.load.streams import Line


def parsed(line: int, data: bytes, settings: LoadSettings) -> Raw:
    """One row from the JSON text of an object."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        return Raw(line, None, loose(data), f"invalid UTF-8 at byte {error.start + 1} of the row")
    if "\0" in text:
        return Raw(line, None, text, "NUL character")
    try:
        record = parse(text, max_depth=settings.max_depth)
    except RowError as error:
        return Raw(line, None, text, str(error))
    if not isinstance(record, Mapping):
        return Raw(line, None, text, f"the row is {kind(record)}, expected an object")
    return Raw(line, record, text)


def too_long(line: int, data: bytes, settings: LoadSettings) -> Raw:
    """A row beyond the limit, of which only the beginning is known."""
    reason = f"longer than the limit of {settings.max_line_bytes} bytes (load.max_line_bytes)"
    return Raw(line, None, loose(data[: 4 * settings.quarantine_text_chars]), reason)


def loose(data: bytes) -> str:
    r"""Text of bytes that may not be text; what is no UTF-8 is shown as `\xff`."""
    return data.decode("utf-8", "backslashreplace")


def read_jsonl(lines: Iterable[Line], settings: LoadSettings) -> Iterator[Raw]:
    """One row per line; blank lines are no rows."""
    for line in lines:
        if line.too_long:
            yield too_long(line.number, line.data, settings)
        elif data := line.data.strip():
            yield parsed(line.number, data, settings)


def header(text: str, delimiter: str) -> list[str]:
    """The column names in a header line; empty if it is none."""
    try:
        return next(csv.reader([text], delimiter=delimiter, strict=True), [])
    except csv.Error:
        return []


@dataclass
class _Lines:
    """Feeds lines to `csv.reader`, remembers those of the current row, takes some back."""

    source: Iterator[Line]
    limit: int
    row: list[Line] = field(default_factory=list)
    returned: deque[Line] = field(default_factory=deque)
    size: int = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self.returned.popleft() if self.returned else next(self.source)
        self.row.append(line)
        self.size += len(line.data)
        if line.too_long or self.size > self.limit:
            raise _TooLongError
        # Bytes that are no UTF-8 become surrogates, which valid UTF-8 never decodes to.
        return line.data.decode("utf-8", "surrogateescape") + "\n"

    def start_row(self) -> None:
        self.row, self.size = [], 0

    def keep_first(self) -> None:
        """Give back all lines of the current row but its first."""
        self.returned.extendleft(reversed(self.row[1:]))
        del self.row[1:]


class _TooLongError(Exception):
    """A quoted field does not end within the limit."""


def read_csv(lines: Iterable[Line], settings: LoadSettings, *, delimiter: str) -> Iterator[Raw]:
    """Rows under a header line; values are text. A quoted field may span lines.

    Where a quote does not close, the row's first line is bad and reading goes on with the next.

    Raises:
        FileError: The header names a column twice.
    """
    # The module's only limit on a field is global; rows are measured in `_Lines`.
    csv.field_size_limit(max(csv.field_size_limit(), settings.max_line_bytes))
    feed = _Lines(iter(lines), settings.max_line_bytes)
    reader = csv.reader(feed, delimiter=delimiter, strict=True)
    columns: list[str] | None = None
    while True:
        feed.start_row()
        try:
            values = next(reader)
        except StopIteration:
            return
        except (_TooLongError, csv.Error) as error:
            feed.keep_first()
            reader = csv.reader(feed, delimiter=delimiter, strict=True)
            yield _bad_csv(feed.row[0], error, settings)
            continue
        if not values:
            continue
        if columns is None:
            columns = _columns(values)
        else:
            yield _csv_row(feed.row, columns, values)


def _columns(names: list[str]) -> list[str]:
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise FileError(f"the header names column {twice[0]!r} twice")
    return names


def _bad_csv(line: Line, error: Exception, settings: LoadSettings) -> Raw:
    if line.too_long:
        return too_long(line.number, line.data, settings)
    said = "a quoted field does not end" if isinstance(error, _TooLongError) else str(error)
    return Raw(line.number, None, loose(line.data), f"broken CSV: {said}")


def _csv_row(lines: list[Line], columns: list[str], values: list[str]) -> Raw:
    number = lines[0].number
    data = b"\n".join(line.data for line in lines)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        return Raw(number, None, loose(data), f"invalid UTF-8 at byte {error.start + 1} of the row")
    if len(values) != len(columns):
        reason = f"broken CSV: fields in the row {len(values)}, in the header {len(columns)}"
        return Raw(number, None, text, reason)
    return Raw(number, dict(zip(columns, values, strict=True)), text)
