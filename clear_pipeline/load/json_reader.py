"""Rows of a JSON document, cut out one by one; the whole is never held or parsed at once."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from clear_pipeline.load.events import FileError, Raw
from clear_pipeline.load.settings import LoadSettings
from clear_pipeline.load.streams import BOM
from clear_pipeline.load.text_readers import parsed, too_long

_OUTSIDE = re.compile(rb'["\[\]{},]')
_INSIDE = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)
_LIST_DEPTH = 2
"""A list of rows is the document itself or a value of its outermost object."""
_HOPELESS_DEPTH = 200_000
"""So many open brackets are no row that will ever end; reading stops there."""


class RowCutter:
    """Follows strings and brackets through a document and cuts out the text of its rows.

    Args:
        limit: Bytes of a row that are held; one byte more shows that it was longer.
        documents: The rows are the top-level values, one after the other, not items of a list.
        array: The document is the list of rows; objects after its end are rows as well.
    """

    def __init__(self, limit: int, *, documents: bool, array: bool = False) -> None:
        self.closed = False
        self.hopeless = False
        self._limit = limit
        self._documents = documents
        self._array = array
        self._depth = 0
        self._rows_at = 0 if documents else None
        self._in_string = False
        self._unread = b""
        self._row = bytearray()

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """Take the next bytes; yield the text of each row that ends in them."""
        data = self._unread + piece
        self._unread = b""
        begin = 0
        for at in self._structure(data):
            token = data[at]
            level = self._depth == self._rows_at
            if token in b"[{":
                begin = self._opened(token, at, begin)
            elif token in b",":
                if level and not self._documents:
                    yield self._take(data[begin:at])
                    begin = at + 1
            elif not level:
                self._depth -= 1
                if self._documents and self._depth == 0:
                    yield self._take(data[begin : at + 1])
                    begin = at + 1
            elif token in b"]" and not self._documents:
                yield self._take(data[begin:at])
                self._depth -= 1
                self._rows_at = None
            self.closed = self._depth == 0
            self.hopeless = self._depth > _HOPELESS_DEPTH
        if self._rows_at is not None:
            self._collect(data[begin : len(data) - len(self._unread)])

    def _opened(self, token: int, at: int, begin: int) -> int:
        """Go into a bracket; where the current row begins."""
        if self._array and self._depth == 0 and token in b"{":
            self._array, self._documents, self._rows_at, begin = False, True, 0, at
        self._depth += 1
        if self._rows_at is None and token in b"[" and self._depth <= _LIST_DEPTH:
            self._rows_at, begin = self._depth, at + 1
        return begin

    def rest(self) -> bytes:
        """The text of a row that the document did not end."""
        return self._take(self._unread)

    def _structure(self, data: bytes) -> Iterator[int]:
        """Positions of brackets and commas that stand outside of strings."""
        at = 0
        while at < len(data):
            if self._in_string:
                inside = _INSIDE.match(data, at)
                at = inside.end() if inside else at
                if at == len(data) - 1 and data[at] in b"\\":
                    self._unread = data[at:]  # what it escapes is in the next piece
                    return
                self._in_string = at == len(data)
                at += 1
                continue
            token = _OUTSIDE.search(data, at)
            if token is None:
                return
            at = token.end()
            if token.group() == b'"':
                self._in_string = True
            else:
                yield token.start()

    def _collect(self, data: bytes) -> None:
        if not self._row:
            data = data.lstrip()
        self._row += data[: max(0, self._limit + 1 - len(self._row))]

    def _take(self, data: bytes) -> bytes:
        self._collect(data)
        row = bytes(self._row).rstrip()
        self._row.clear()
        return row


def read_json(pieces: Iterable[bytes], settings: LoadSettings, *, rows: str) -> Iterator[Raw]:
    """Rows of a document, numbered from 1.

    Args:
        pieces: Its bytes, see `streams.chunks`.
        settings: Limits.
        rows: Where they are: `array` (its items, and objects that were written behind it),
            `wrapped` (lists in one object; what is no object in them is no row), or `documents`
            (the top-level values themselves).

    Raises:
        FileError: The document does not end; the rows before were yielded.
    """
    cutter = RowCutter(
        settings.max_line_bytes, documents=rows == "documents", array=rows == "array"
    )
    number = 0
    first = True
    for piece in pieces:
        for data in cutter.feed(piece.removeprefix(BOM) if first else piece):
            if data and (rows != "wrapped" or data.startswith(b"{")):
                number += 1
                yield _row(number, data, settings)
        first = False
        if cutter.hopeless:
            break
    if data := cutter.rest():
        number += 1
        yield _row(number, data, settings)
    if not cutter.closed:
        raise FileError(f"the JSON does not end after row {number}; is the file cut off?")


def _row(number: int, data: bytes, settings: LoadSettings) -> Raw:
    if len(data) > settings.max_line_bytes:
        return too_long(number, data, settings)
    return parsed(number, data, settings)
