"""Benchmark files: which they are, what they are called, and the texts of their rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from clear_pipeline.durable import file_sha256
from clear_pipeline.errors import NothingReadableError, UsageError
from clear_pipeline.formats import FORMATS, RowError
from clear_pipeline.formats.base import shown
from clear_pipeline.load import DataFile, FileError, discover, read_records
from clear_pipeline.load.files import shown as path_shown
from clear_pipeline.schema import JSON

DATA_SUFFIXES: Final = frozenset(
    {".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".arrow", ".txt"}
)
"""What a directory is searched for; notes, licences and programs that lie beside are left out."""


@dataclass(frozen=True, slots=True)
class BenchmarkFile:
    """One file of a benchmark.

    Attributes:
        name: What rows are told by: the file's own name, after those of as many of its folders as
            it takes to tell it from the others. A file of a directory that was named has that
            directory's name in front.
        path: Where it lies.
        sha256: Of its bytes.
    """

    name: str
    path: Path
    sha256: str


@dataclass(frozen=True, slots=True)
class Benchmarks:
    """The texts of all benchmark files. A row may have several, each of which is compared.

    Attributes:
        texts: All texts, none of them blank.
        rows: To which row each text belongs, ascending.
        files: To which file each row belongs, ascending.
        lines: Per row its place in the file: of a text file its first line, else its number.
        names: Of the files.
    """

    texts: list[str]
    rows: list[int]
    files: list[int]
    lines: list[int]
    names: list[str]

    def place(self, text: int) -> str:
        """Where the row of a text stands, as in `NAME:LINE`."""
        row = self.rows[text]
        return f"{self.names[self.files[row]]}:{self.lines[row]}"


def benchmark_files(against: Sequence[str]) -> tuple[tuple[BenchmarkFile, ...], tuple[str, ...]]:
    """The files that paths of files and directories name, in the order of their names.

    Returns:
        The files; and what lies in a directory and is left out though it may be data, such as
        links, each with the reason.

    Raises:
        UsageError: A path leads nowhere, a file cannot be opened, a directory holds none.
    """
    found: dict[Path, int] = {}
    left_out: list[str] = []
    for path in against:
        for file, depth in _files(Path(path).expanduser(), left_out):
            found[file] = max(depth, found.get(file, 1))
    names = _names(found)
    try:
        files = [BenchmarkFile(names[path], path, file_sha256(path)) for path in found]
    except OSError as error:
        raise _unreadable(str(error.filename), f"cannot be read: {error.strerror}") from None
    return tuple(sorted(files, key=lambda file: file.name)), tuple(left_out)


def _files(path: Path, left_out: list[str]) -> Iterator[tuple[Path, int]]:
    """Files, resolved, and how many parts of their paths name them at least."""
    try:
        listing = discover(path)
    except NothingReadableError:
        reason = "holds no file that can be read" if path.is_dir() else "no such file or directory"
        raise _unreadable(str(path), reason) from None
    if not path.is_dir():
        yield path.resolve(), 1
        return
    files = [file.path for file in listing.inputs if isinstance(file, DataFile)]
    data = [file for file in files if _may_be_data(file)]
    if not data:
        raise _unreadable(str(path), f"holds no file of {', '.join(sorted(DATA_SUFFIXES))}")
    left_out += [
        f"{path.name}/{s.path}: {s.reason}" for s in listing.skipped if _may_be_data(s.path)
    ]
    root = path.resolve()
    yield from ((file, len(file.relative_to(root).parts) + 1) for file in data)


def _may_be_data(path: str | Path) -> bool:
    return not DATA_SUFFIXES.isdisjoint(Path(path).suffixes)


def _names(depths: Mapping[Path, int]) -> dict[Path, str]:
    """A name for each path, all different: its last parts, as many as are needed."""
    depths = dict(depths)
    while True:
        names = {path: path_shown(Path(*path.parts[-n:])) for path, n in depths.items()}
        told = list(names.values())
        alike = [path for path, name in names.items() if told.count(name) > 1]
        if not alike:
            return names
        depths |= {path: depths[path] + 1 for path in alike}


def read_benchmarks(files: Sequence[BenchmarkFile], columns: Sequence[str]) -> Benchmarks:
    """The rows of benchmark files that hold text, in order.

    Args:
        files: Which.
        columns: Whose texts count; none = all of them, those of a row in a known format as the
            format reads them (an instruction and its input are one turn).

    Raises:
        UsageError: A row cannot be read, or no row of a file has a text; says what to do.
    """
    read = Benchmarks([], [], [], [], [file.name for file in files])
    for number, file in enumerate(files):
        for line, texts in _rows(file.path, columns):
            read.texts.extend(texts)
            read.rows.extend([len(read.files)] * len(texts))
            read.files.append(number)
            read.lines.append(line)
    return read


def _rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    """Line and texts of each row that has some."""
    names: dict[str, None] = {}
    found = False
    try:
        for raw in read_records(path):
            if raw.record is None:
                raise _unreadable(f"{path}:{raw.line}", raw.reason)
            names |= dict.fromkeys(raw.record)
            if texts := [text for text in _texts(raw.record, columns) if text.strip()]:
                found = True
                yield raw.line, texts
    except FileError as error:
        raise _unreadable(str(path), str(error)) from None
    if not found:
        wanted = f"no text in columns {', '.join(columns)}" if columns else "no text to compare"
        raise UsageError(
            f"decontaminate: {path}: {wanted} (found {shown(list(names))}); name the columns with "
            "its texts, --set 'decontaminate.columns=[NAME]', or leave it out of `against`"
        )


def _texts(record: Mapping[str, JSON], columns: Sequence[str]) -> Iterator[str]:
    if columns:
        for name in columns:
            yield from _strings(record.get(name))
        return
    rest = dict(record)
    for form in FORMATS.values():
        if form.matches(record):
            try:
                parsed = form.read(record)
            except RowError:
                continue
            yield from (turn.text for turn in (*parsed.messages, parsed.target))
            for name in form.layout.used(record):
                del rest[name]
            break
    yield from _strings(rest)


def _strings(value: JSON) -> Iterator[str]:
    """Every text in a value, however deep."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _strings(item)
    elif isinstance(value, Sequence):
        for item in value:
            yield from _strings(item)


def _unreadable(where: str, reason: str) -> UsageError:
    return UsageError(
        f"decontaminate: {where}: {reason}; give benchmark files of JSONL, JSON, CSV, Parquet, "
        "Arrow or plain text (.txt), or leave it out of `against`"
    )
