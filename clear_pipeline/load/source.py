"""What DATA is: a file, the files of a directory, here or elsewhere, or tables in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import pyarrow as pa

from clear_pipeline.errors import NothingReadableError, UsageError
from clear_pipeline.formats import FORMATS
from clear_pipeline.load.data_file import DataFile
from clear_pipeline.load.events import Quarantined, Skipped
from clear_pipeline.load.files import data_files, shown
from clear_pipeline.load.memory import Frame, HFDataset, MemoryTable
from clear_pipeline.load.remote_file import RemoteFile, remote_files
from clear_pipeline.remote import is_remote, local_path, place_at

Input: TypeAlias = DataFile | MemoryTable | RemoteFile

Data: TypeAlias = str | Path | Frame | HFDataset | Mapping[str, HFDataset] | pa.Table
"""What a run can be started on; a mapping is a Hugging Face DatasetDict."""


@dataclass(frozen=True, slots=True)
class Listing:
    """What DATA holds. `inputs` are in the order of their paths."""

    inputs: tuple[Input, ...]
    skipped: tuple[Skipped, ...] = ()


def discover(data: Data) -> Listing:
    """List the files of a directory, a single file, or tables in memory.

    The network is used only where `data` is the address of a remote place, such as `s3://...`.

    Hidden files are left out. Listed as skipped are links, what is no regular file, run
    directories, and the notes and cache files of a saved Hugging Face dataset.

    Raises:
        NothingReadableError: The path does not exist, or the directory holds nothing to read.
        UsageError: `data` is nothing that can be read.
        RemoteError: A remote place cannot be listed.
    """
    if isinstance(data, str) and is_remote(data):
        return _discover_remote(data)
    if isinstance(data, str | Path):
        return _discover_path(local_path(data))
    if isinstance(data, Mapping):
        tables = [MemoryTable(f"dataset/{split}", table) for split, table in data.items()]
        return Listing(tuple(tables))
    if isinstance(data, pa.Table):
        return Listing((MemoryTable("table", data),))
    if isinstance(data, Frame):
        return Listing((MemoryTable("dataframe", data),))
    if isinstance(data, HFDataset):
        return Listing((MemoryTable("dataset", data),))
    raise UsageError(
        f"DATA is a {type(data).__name__}; expected a path, a pandas DataFrame, "
        "a Hugging Face Dataset or a pyarrow Table"
    )


def _discover_path(path: Path) -> Listing:
    if not path.exists():
        raise NothingReadableError(f"{path}: no such file or directory")
    if path.is_file():
        return Listing((DataFile(shown(Path(path.name)), path),))
    if not path.is_dir():
        raise NothingReadableError(f"{path}: neither a file nor a directory")
    root = path.resolve()
    skipped: list[Skipped] = []
    inputs = [DataFile(shown(f.relative_to(root)), f) for f in data_files(root, skipped)]
    if not inputs:
        raise nothing_readable(str(path), skipped, [])
    return Listing(tuple(inputs), tuple(skipped))


def _discover_remote(address: str) -> Listing:
    place = place_at(address)
    if place.is_file():
        return Listing((RemoteFile(place.name, place, place.size()),))
    if not place.exists():
        raise NothingReadableError(
            f"{place}: no such file or directory that may be seen from here{place.credentials()}"
        )
    skipped: list[Skipped] = []
    inputs = remote_files(place, skipped)
    if not inputs:
        raise nothing_readable(str(place), skipped, [])
    return Listing(tuple(inputs), tuple(skipped))


def data_name(data: str | Path) -> str:
    """What a dataset is called: the last part of its path, or of its address."""
    if isinstance(data, str) and is_remote(data):
        return data.rstrip("/").rpartition("/")[2]
    return shown(Path(local_path(data).resolve().name))


def nothing_readable(
    data: str, skipped: Sequence[Skipped], quarantined: Sequence[Quarantined]
) -> NothingReadableError:
    """The error for DATA without a usable row: what was found, what was expected, what to try."""
    found = [f"{s.path}: {s.reason}" for s in skipped] + [str(q) for q in quarantined]
    more = f"\n  and {len(found) - _LISTED} more" if len(found) > _LISTED else ""
    listed = "".join(f"\n  {line}" for line in found[:_LISTED]) or "\n  no files"
    rows_told = "--map prompt=COLUMN,response=COLUMN, or look at the rows above"
    return NothingReadableError(
        f"{data}: no usable row\nfound:{listed}{more}\n"
        f"expected: rows as {', '.join(FORMATS)} in JSONL, JSON, CSV, Parquet or Arrow files, "
        "plain or compressed with gzip, zstd or bz2\n"
        f"try: {rows_told if quarantined else 'name a file or directory that holds rows'}"
    )


_LISTED = 5
