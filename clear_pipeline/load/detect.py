"""What a file is, from its content: container, and the format of its rows."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from itertools import chain
from pathlib import Path, PurePosixPath

from clear_pipeline.formats import FORMATS, Format, Record
from clear_pipeline.formats.base import shown
from clear_pipeline.load.arrow_reader import read_arrow
from clear_pipeline.load.events import FileError, Source, UnknownColumnsError
from clear_pipeline.load.json_reader import read_json
from clear_pipeline.load.parquet_reader import read_parquet
from clear_pipeline.load.settings import LoadSettings
from clear_pipeline.load.streams import BOM, begun, chunks, compression, lines
from clear_pipeline.load.text_readers import header, read_csv, read_jsonl

_FOREIGN = {
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"GIF8": "a GIF image",
    b"RIFF": "a RIFF media file",
    b"%PDF": "a PDF document",
    b"PK\x03\x04": "a ZIP archive (or XLSX); unpack or export it",
    b"7z\xbc\xaf": "a 7z archive; unpack it",
    b"\xfd7zXZ": "xz; use gzip, zstd or bz2",
    b"\x7fELF": "a program",
    b"SQLite format 3": "an SQLite database",
    b"\xff\xfe": "UTF-16 text; convert it to UTF-8",
    b"\xfe\xff": "UTF-16 text; convert it to UTF-8",
    b"\x80\x04": "a Python pickle, which is never read",
    b"\x80\x05": "a Python pickle, which is never read",
}
_ARRAY = re.compile(rb"\[\s*(?:[{\[\"\d\-\]]|null\b|true\b|false\b)")
_WRAPPED = re.compile(rb'\{\s*"[^"\\]*"\s*:\s*\[\s*\{')
_TURNS = re.compile(rb'\{\s*"(?:messages|conversations?|tools|functions)"')
DELIMITERS = ",\t;|"
_FIRST_LINE_BYTES = 1 << 24
"""Of a first line that is looked at whole, for its object tells what the file is."""
_TAR_MAGIC = slice(257, 262)


def open_source(
    path: Path, settings: LoadSettings, candidates: Sequence[Format], *, name: str | None = None
) -> Source:
    """Find out what a file is and read its rows.

    Args:
        path: The file.
        settings: Limits.
        candidates: Formats that its rows may have.
        name: What it is called; None = as at the path.

    Raises:
        FileError: It is empty, foreign, damaged from the start or cannot be read; the rows raise it
            too, where a file breaks off.
    """
    pieces = chunks(path, max_expansion=settings.max_expansion)
    head, pieces = begun(pieces, min(settings.max_line_bytes, _FIRST_LINE_BYTES))
    if not head.strip():
        raise FileError("empty")
    codec = _codec(path)
    binary = _binary(path, head, codec, settings)
    if binary is not None:
        return binary
    text = head.removeprefix(BOM).lstrip()
    suffix = f"+{codec}" if codec else ""
    if _ARRAY.match(text):
        return Source("json" + suffix, read_json(pieces, settings, rows="array"))
    if text.startswith(b"{") and (rows := _object_rows(text, candidates)):
        return Source("json" + suffix, read_json(pieces, settings, rows=rows))
    numbered = lines(pieces, settings.max_line_bytes)
    if text.startswith(b"{") or _mostly_objects(text):
        return Source("jsonl" + suffix, read_jsonl(numbered, settings))
    delimiter = _delimiter(text, candidates)
    if delimiter is not None:
        return Source("csv" + suffix, read_csv(numbered, settings, delimiter=delimiter))
    endings = PurePosixPath(name or path).suffixes
    if {".jsonl", ".ndjson"} & {*endings}:  # its first lines are broken
        return Source("jsonl" + suffix, read_jsonl(numbered, settings))
    raise _no_rows(endings, text, candidates)


def _codec(path: Path) -> str | None:
    with path.open("rb") as file:
        return compression(file.read(4))


def _binary(path: Path, head: bytes, codec: str | None, settings: LoadSettings) -> Source | None:
    """A source that is no text; None for text.

    Raises:
        FileError: Neither text nor Parquet nor Arrow.
    """
    columnar = head.startswith((b"PAR1", b"ARROW1", b"\xff\xff\xff\xff"))
    if columnar and codec:
        raise FileError(f"a {codec} of a Parquet or Arrow file; decompress it")
    if head.startswith(b"PAR1"):
        return Source("parquet", read_parquet(path, max_expansion=settings.max_expansion))
    if columnar:
        stream = not head.startswith(b"ARROW1")
        rows = read_arrow(path, stream=stream, max_expansion=settings.max_expansion)
        return Source("arrow", rows)
    for magic, what in _FOREIGN.items():
        if head.startswith(magic):
            raise FileError(f"not a dataset: {what}")
    if head[_TAR_MAGIC] == b"ustar":
        raise FileError("not a dataset: a tar archive; unpack it")
    if compression(head):
        raise FileError(f"not a dataset: compressed twice ({compression(head)} inside)")
    starts_as_text = head.removeprefix(BOM).lstrip()[:1] in (b"{", b"[")
    if b"\0" in head and not starts_as_text:
        raise FileError("not a dataset: binary data")
    return None


def _object_rows(text: bytes, candidates: Sequence[Format]) -> str | None:
    """How a file that starts with `{` holds rows: `wrapped`, `documents`; None = JSONL."""
    line, newline, rest = text.partition(b"\n")
    if not newline and len(line) >= len(text) and _WRAPPED.match(line) and not _TURNS.match(line):
        return None if _suits(_first_object(line), candidates) else "wrapped"
    first = _first_object(line)
    if first is not None:
        lists = [v for v in first.values() if isinstance(v, list) and v and isinstance(v[0], dict)]
        return "wrapped" if lists and not rest.strip() and not _suits(first, candidates) else None
    if line.rstrip()[-1:] not in (b"{", b"[", b",", b":") or _mostly_rows(rest, candidates):
        return None
    return "documents" if _suits(_first_object(text), candidates) else "wrapped"


def _first_object(text: bytes, *, alone: bool = False) -> Record | None:
    """The object that the text starts with, if it ends within it. For a look, not for reading.

    Args:
        text: What to look at.
        alone: Whether nothing may follow it.
    """
    decoded = text.decode("utf-8", "replace")
    try:
        value, end = json.JSONDecoder().raw_decode(decoded)
    except (ValueError, RecursionError):
        return None
    more = alone and decoded[end:].strip()
    return value if isinstance(value, Mapping) and not more else None


def _mostly_rows(text: bytes, candidates: Sequence[Format]) -> bool:
    """Whether more than half of some lines are rows, so that the line before them was cut off."""
    filled = [line for line in map(bytes.strip, text.split(b"\n")) if line]
    rows = sum(_suits(_first_object(line, alone=True), candidates) for line in filled)
    return 2 * rows > len(filled)


def _suits(record: Record | None, candidates: Sequence[Format]) -> bool:
    return record is not None and any(f.matches(record) for f in candidates)


def _mostly_objects(text: bytes) -> bool:
    begins = [line.lstrip()[:1] for line in text.split(b"\n") if line.strip()]
    return 2 * begins.count(b"{") > len(begins)


def _delimiter(text: bytes, candidates: Sequence[Format]) -> str | None:
    """The delimiter under which the first line is a header that some format knows."""
    first = _first_line(text)
    for delimiter in DELIMITERS:
        if _suits(dict.fromkeys(header(first, delimiter), ""), candidates):
            return delimiter
    return None


def _first_line(text: bytes) -> str:
    return text.partition(b"\n")[0].decode("utf-8", "replace").rstrip("\r")


def _no_rows(endings: Collection[str], text: bytes, candidates: Sequence[Format]) -> FileError:
    if {".csv", ".tsv"} & {*endings}:
        columns = header(_first_line(text), "\t" if ".tsv" in endings else ",")
        return UnknownColumnsError(unknown_format(columns, candidates), columns)
    return FileError("not a dataset: text that is neither JSON nor CSV with known columns")


def unknown_format(columns: Sequence[str], candidates: Sequence[Format]) -> str:
    """The reason why rows with these columns cannot be used."""
    names = ", ".join(dict.fromkeys(f.name for f in candidates))
    return (
        f"no known format (found {shown(columns)}; expected {names}"
        "); name the columns: --map prompt=...,response=..."
    )


def detect_format(records: Sequence[Record], candidates: Sequence[Format]) -> Format | None:
    """The format that most of the records suit, the likelier one in a tie.

    Args:
        records: The first rows of a file.
        candidates: Formats that it may have, see `LoadSettings.candidates`. If all are one format,
            with a map and without, that is the file's.

    Returns:
        None if no record suits a candidate.
    """
    likely = _likeliest_first(records, candidates)
    counts = [sum(f.matches(record) for record in records) for f in likely]
    best = max(counts, default=0)
    if best:
        return likely[counts.index(best)]
    return candidates[0] if len({f.name for f in candidates}) == 1 else None


def _likeliest_first(records: Sequence[Record], candidates: Sequence[Format]) -> list[Format]:
    """The candidates of which a map names a column that is there, and those without a map.

    A map speaks for its format where all its columns are there, or the rows are of the format only
    by them. Otherwise it says no more than where that format would find things: its rank stays.
    """
    there = frozenset(chain.from_iterable(records))
    possible = [f for f in candidates if not f.columns or f.columns & there]
    meant = [f for f in possible if f.columns and (f.columns <= there or _made_by_map(f, records))]
    ranks = list(FORMATS)
    others = [f for f in possible if f not in meant]
    return meant + sorted(others, key=lambda f: ranks.index(f.name))


def _made_by_map(format_: Format, records: Sequence[Record]) -> bool:
    """Whether some record is of a format only by the columns that its map names."""
    return any(
        format_.matches(record)
        and not format_.matches({k: v for k, v in record.items() if k not in format_.columns})
        for record in records
    )
