"""Bytes of a file, decompressed on the way and never held as a whole."""

from __future__ import annotations

import bz2
import gzip
import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import pyarrow as pa

from clear_pipeline.load.events import FileError

CHUNK = 1 << 16
FREE_BYTES = 1 << 26
"""A file may become so many bytes, however small it is."""
BOM = b"\xef\xbb\xbf"
_MAGIC = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"BZh": "bz2"}
_OPEN = re.compile(rb"(?:\xef\xbb\xbf)?\s*\{[^\n]*+")
"""A file that begins with an object whose line has not ended."""
_SKIPPABLE_ZSTD = b"\x2a\x4d\x18"


def compression(start: bytes) -> str | None:
    """`gzip`, `zstd` or `bz2`, from a file's first bytes; None if it is not compressed."""
    if start[:1] and start[0] & 0xF0 == 0x50 and start[1:4] == _SKIPPABLE_ZSTD:  # noqa: PLR2004
        return "zstd"
    return next((name for magic, name in _MAGIC.items() if start.startswith(magic)), None)


@dataclass(frozen=True, slots=True)
class Bound:
    """How much a file may become; more is a bomb, or damage.

    Attributes:
        size: Bytes of the file.
        max_expansion: How many times its size it may become; `FREE_BYTES` are always allowed.
    """

    size: int
    max_expansion: int

    def allows(self, become: int) -> bool:
        """Whether it may become so many bytes."""
        return become <= max(FREE_BYTES, self.size * self.max_expansion)

    def check(self, become: int, *, place: str = "") -> None:
        """Refuse what becomes more than it may.

        Args:
            become: Bytes that the file has become so far, or is known to become.
            place: Where in the file, such as `row group 2`.

        Raises:
            FileError: It is too much; the message begins with the place.
        """
        if not self.allows(become):
            raise FileError(
                f"{place}{': ' if place else ''}decompresses to more than {self.max_expansion} "
                "times its size (load.max_expansion); decompress it yourself if it is what you want"
            )


def chunks(path: Path, *, max_expansion: int) -> Iterator[bytes]:
    """The decompressed bytes of a file in pieces of at most 64 KiB.

    Args:
        path: The file.
        max_expansion: See `Bound`.

    Raises:
        FileError: The file cannot be read, breaks off, or is a bomb; what came before was yielded.
    """
    try:
        bound, done = Bound(path.stat().st_size, max_expansion), 0
        with path.open("rb") as file:
            codec = compression(file.read(4))
            file.seek(0)
            read: Callable[[int], bytes]
            if codec == "gzip":
                # read1: one step at a time, so that nothing before a break is lost
                read = gzip.GzipFile(fileobj=file).read1
            elif codec == "bz2":
                read = bz2.BZ2File(file).read1
            elif codec == "zstd":
                read = pa.CompressedInputStream(pa.PythonFile(file, "r"), "zstd").read
            else:
                read = file.read
            while chunk := read(CHUNK):
                done += len(chunk)
                bound.check(done)
                yield chunk
    except (OSError, EOFError, zlib.error) as error:
        raise FileError(_said(error)) from error


def begun(pieces: Iterator[bytes], limit: int) -> tuple[bytes, Iterator[bytes]]:
    """The start of a file, to be looked at, and all its pieces, the start included.

    The start is `CHUNK` bytes, more where an object on its first line goes on: all of that line,
    unless it is longer than `limit`. It is less where the file ends or breaks off before.

    Args:
        pieces: See `chunks`.
        limit: Bytes of that line; hardly more are held.

    Raises:
        FileError: The file breaks off before its first byte; later, the pieces raise it.
    """
    head = bytearray()
    try:
        for piece in pieces:
            head += piece
            if len(head) >= CHUNK and (len(head) > limit or not _OPEN.fullmatch(head)):
                break
    except FileError as error:
        if not head:
            raise
        pieces = _breaking(error)
    return bytes(head), chain([bytes(head)], pieces)


def _breaking(error: FileError) -> Iterator[bytes]:
    yield from ()
    raise error


def _said(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"cannot be read: {error.strerror}"
    return f"the compressed data is damaged: {str(error).rstrip('.')}"


@dataclass(frozen=True, slots=True)
class Line:
    """One physical line without its LF. If it was too long, `data` is its beginning."""

    number: int
    data: bytes
    too_long: bool


def lines(pieces: Iterable[bytes], limit: int) -> Iterator[Line]:
    """Cut bytes into lines at LF; a byte-order mark at the start is dropped.

    Args:
        pieces: See `chunks`.
        limit: Bytes that a line may have. The rest of a longer one is skipped, not held.
    """
    number, length = 1, 0
    start = bytearray()
    for piece in pieces:
        for index, part in enumerate(piece.split(b"\n")):
            if index:
                yield _line(number, start, length > limit)
                number, length = number + 1, 0
                start.clear()
            length += len(part)
            start += part[: limit - len(start)]
    if length:
        yield _line(number, start, length > limit)


def _line(number: int, start: bytearray, too_long: bool) -> Line:  # noqa: FBT001
    data = bytes(start)
    return Line(number, data.removeprefix(BOM) if number == 1 else data, too_long)
