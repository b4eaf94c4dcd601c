"""Before the first step of a run: what DATA holds, and that the run directory is its own.

Nothing of a run, its log included, is written before both are known.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from clear_pipeline import __version__
from clear_pipeline.durable import DAMAGED
from clear_pipeline.errors import RunMismatchError
from clear_pipeline.load import Data, Listing, RemoteFile, Skipped, data_name
from clear_pipeline.load.files import shown
from clear_pipeline.manifest import IN_MEMORY, MANIFEST, PREVIOUS, Manifest, set_damaged_aside
from clear_pipeline.remote import is_remote, local_path
from clear_pipeline.run_log import LOG
from clear_pipeline.stages.base import Progress
from clear_pipeline.store import CACHE, ROWS_FOLDER, Store

_SHOWN = 3
"""Files that a message names."""
_AT_ONCE = 16
"""Files elsewhere that are asked about at the same time."""
_OURS = (".lock", LOG, CACHE, f".{MANIFEST}.")
"""Starts of names that may lie in the directory of a new run: answers may be brought along from
another one, and a process may have been killed while it wrote its first manifest."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A run directory and the DATA that it is for.

    Attributes:
        shown: DATA, as a message names it.
        listing: The files that can be read, and those that cannot.
        digests: SHA-256 of each that can, by name; of a file elsewhere only if it is as it was
            when it was fetched.
        manifest: Of the run that is resumed, or begun; saved.
    """

    shown: str
    listing: Listing
    digests: Mapping[str, str]
    manifest: Manifest


def refuse_strangers(directory: Path) -> None:
    """Leave a directory as it is that holds files and no run.

    Raises:
        RunMismatchError: It is one; the message names what it holds.
    """
    if not directory.is_dir() or any(
        (directory / name).exists() for name in (MANIFEST, PREVIOUS, MANIFEST + DAMAGED)
    ):
        return
    strangers = sorted(p.name for p in directory.iterdir() if not p.name.startswith(_OURS))
    if strangers:
        raise RunMismatchError(
            f"{directory}: holds no run but {_some(strangers)}; give an empty or new --out"
        )


def claim(data: Data, listing: Listing, store: Store, progress: Progress) -> Claim:
    """Make the run directory that of DATA; only under its lock.

    Args:
        data: What `listing` is the list of.
        listing: Made before the directory was, which may lie within DATA.
        store: The directory.
        progress: Told of a manifest that was damaged.

    Raises:
        RemoteError: What became of a file elsewhere cannot be asked.
        RunMismatchError: The directory holds a run of other data, or is no run at all.
    """
    for told in set_damaged_aside(store.directory):
        progress.note(told)
    before = Manifest.read(store.directory)
    listing, digests = digested(listing, before)
    manifest = _manifest_for(data, listing, digests, before, store.directory)
    manifest.save(store.directory)
    (store.directory / ROWS_FOLDER).mkdir(exist_ok=True)  # by both it is known as a run directory
    name = str(data) if isinstance(data, str | Path) else listing.inputs[0].name
    return Claim(name, listing, digests, manifest)


def digested(listing: Listing, before: Manifest | None = None) -> tuple[Listing, dict[str, str]]:
    """The files that can be read, with the hash of each; the others join the skipped ones.

    The hash of a file elsewhere is that of its record in `before`, while what its service tells of
    it is; else it has none yet.
    """
    digests, unreadable = _recorded(listing, before), []
    for source in listing.inputs:
        if isinstance(source, RemoteFile):
            continue
        try:
            digests[source.name] = source.digest()
        except OSError as error:
            unreadable.append(Skipped(source.name, f"cannot be read: {error.strerror}"))
    away = {file.path for file in unreadable}
    inputs = tuple(source for source in listing.inputs if source.name not in away)
    return Listing(inputs, (*listing.skipped, *unreadable)), digests


def _recorded(listing: Listing, before: Manifest | None) -> dict[str, str]:
    """The hashes of files elsewhere that are as they were when they were fetched."""
    records = {} if before is None else before.records()
    asked = [
        (source, record)
        for source in listing.inputs
        if isinstance(source, RemoteFile)
        and (record := records.get(source.name)) is not None
        and record.stamp
        and source.listed in (None, record.bytes)
    ]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        stamps = pool.map(lambda pair: pair[0].stamp(), asked)
        return {
            source.name: record.sha256
            for (source, record), stamp in zip(asked, stamps, strict=True)
            if stamp == record.stamp
        }


def _manifest_for(
    data: Data,
    listing: Listing,
    digests: Mapping[str, str],
    before: Manifest | None,
    directory: Path,
) -> Manifest:
    """The manifest of the run to resume, or a new one.

    Raises:
        RunMismatchError: The directory belongs to something else.
    """
    source, name = _called(data, listing, directory)
    if before is None:
        refuse_strangers(directory)
        return Manifest(package_version=__version__, dataset=name, source=source)
    if before.files and before.source != source and not _shares(before, listing, digests):
        raise RunMismatchError(
            f"{directory}: holds a run of {before.dataset!r} "
            f"({_some([record.path for record in before.files])}); "
            f"DATA is {name!r} ({_some([file.name for file in listing.inputs])}) and no file is "
            "the same. Give another --out, or delete that run"
        )
    before.package_version, before.dataset, before.source = __version__, name, source
    return before


def _called(data: Data, listing: Listing, directory: Path) -> tuple[str, str]:
    """`Manifest.source` and `Manifest.dataset` of DATA."""
    if not isinstance(data, str | Path):
        return IN_MEMORY, listing.inputs[0].name if listing.inputs else IN_MEMORY
    if isinstance(data, str) and is_remote(data):
        return data.rstrip("/"), data_name(data)
    path = os.path.relpath(local_path(data).resolve(), directory.resolve())
    return shown(Path(path)), data_name(data)


def _shares(before: Manifest, listing: Listing, digests: Mapping[str, str]) -> bool:
    """Whether a file of DATA is one that the run has read; a file elsewhere may be fetched."""
    records = {record.path: record for record in before.files}
    if any(path in records and records[path].sha256 == sha for path, sha in digests.items()):
        return True
    return any(
        (record := records.get(source.name)) is not None
        and source.name not in digests
        and source.size() in (0, record.bytes)
        and source.digest() == record.sha256
        for source in listing.inputs
    )


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
