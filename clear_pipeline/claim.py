"""Before the first step of a run: what DATA holds, and that the run directory is its own.

Nothing of a run, its log included, is written before both are known.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from clear_pipeline import __version__
from clear_pipeline.durable import DAMAGED
from clear_pipeline.errors import RunMismatchError
from clear_pipeline.load import Data, Listing, Skipped
from clear_pipeline.load.files import shown
from clear_pipeline.manifest import IN_MEMORY, MANIFEST, PREVIOUS, Manifest, set_damaged_aside
from clear_pipeline.run_log import LOG
from clear_pipeline.stages.base import Progress
from clear_pipeline.store import CACHE, ROWS_FOLDER, Store

_SHOWN = 3
"""Files that a message names."""
_OURS = (".lock", LOG, CACHE)
"""May lie in the directory of a new run: answers may be brought along from another one."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A run directory and the DATA that it is for.

    Attributes:
        shown: DATA, as a message names it.
        listing: The files that can be read, and those that cannot.
        digests: SHA-256 of each that can, by name.
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
        RunMismatchError: The directory holds a run of other data, or is no run at all.
    """
    listing, digests = digested(listing)
    for told in set_damaged_aside(store.directory):
        progress.note(told)
    manifest = _manifest_for(data, digests, store.directory)
    manifest.save(store.directory)
    (store.directory / ROWS_FOLDER).mkdir(exist_ok=True)  # by both it is known as a run directory
    name = str(data) if isinstance(data, str | Path) else listing.inputs[0].name
    return Claim(name, listing, digests, manifest)


def digested(listing: Listing) -> tuple[Listing, dict[str, str]]:
    """The files that can be read, with the hash of each; the others join the skipped ones."""
    digests, unreadable = {}, []
    for source in listing.inputs:
        try:
            digests[source.name] = source.digest()
        except OSError as error:
            unreadable.append(Skipped(source.name, f"cannot be read: {error.strerror}"))
    inputs = tuple(source for source in listing.inputs if source.name in digests)
    return Listing(inputs, (*listing.skipped, *unreadable)), digests


def _manifest_for(data: Data, digests: Mapping[str, str], directory: Path) -> Manifest:
    """The manifest of the run to resume, or a new one.

    Raises:
        RunMismatchError: The directory belongs to something else.
    """
    is_path = isinstance(data, str | Path)
    path = Path(str(data)).resolve()
    source = shown(Path(os.path.relpath(path, directory.resolve()))) if is_path else IN_MEMORY
    name = shown(Path(path.name)) if is_path else next(iter(digests), IN_MEMORY)
    manifest = Manifest.read(directory)
    if manifest is None:
        refuse_strangers(directory)
        return Manifest(package_version=__version__, dataset=name, source=source)
    before = {record.path: record.sha256 for record in manifest.files}
    shared = before.items() & digests.items()
    if before and not shared and manifest.source != source:
        raise RunMismatchError(
            f"{directory}: holds a run of {manifest.dataset!r} ({_some(list(before))}); "
            f"DATA is {name!r} ({_some(list(digests))}) and no file is the same. "
            "Give another --out, or delete that run"
        )
    manifest.package_version, manifest.dataset, manifest.source = __version__, name, source
    return manifest


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
