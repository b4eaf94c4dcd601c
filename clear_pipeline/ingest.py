"""The first step of a run: DATA becomes row shards and a quarantine, file by file.

A file whose bytes and settings are those of an earlier run is not read again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow.compute as pc

from clear_pipeline import __version__
from clear_pipeline.durable import DAMAGED, file_sha256, write_atomically
from clear_pipeline.errors import RunMismatchError
from clear_pipeline.load import (
    Data,
    DataFile,
    FileFacts,
    Listing,
    LoadedShard,
    LoadSettings,
    MemoryTable,
    Problem,
    Quarantined,
    Skipped,
    discover,
    nothing_readable,
)
from clear_pipeline.load.files import shown
from clear_pipeline.manifest import (
    IN_MEMORY,
    MANIFEST,
    FileRecord,
    Manifest,
    SkippedFile,
    fingerprint,
    set_damaged_aside,
)
from clear_pipeline.run_log import LOG
from clear_pipeline.stages.base import Progress
from clear_pipeline.store import CACHE, LEDGER, QUARANTINE, ROWS_FOLDER, Store

Input: TypeAlias = DataFile | MemoryTable
_SHOWN = 3
"""Files that a message names."""


def ingest(data: Data, settings: LoadSettings, store: Store, progress: Progress) -> Manifest:
    """Bring the row shards of a run directory up to date with DATA.

    Returns:
        The manifest, saved, with a record of every file and shard.

    Raises:
        NothingReadableError: DATA holds no usable row.
        RunMismatchError: The directory holds a run of other data, or is no run at all.
    """
    listing, digests = digested(discover(data))
    for told in set_damaged_aside(store.directory):
        progress.note(told)
    manifest = _manifest_for(data, digests, store.directory)
    manifest.save(store.directory)
    old = {record.path: record for record in manifest.files}
    shards = dict(manifest.shards)
    loader = _Loader(settings, store, progress, manifest, old)
    manifest.skipped = [SkippedFile(path=s.path, reason=s.reason) for s in listing.skipped]
    manifest.files, manifest.shards = [], {}
    progress.start("load", 0)
    try:
        for source in listing.inputs:
            loader.bring(source, digests[source.name], shards)
    finally:
        progress.finish()
    for record in manifest.files:
        for problem in record.problems:
            progress.note(f"{record.path}: {problem}")
    for file in manifest.skipped:
        progress.note(f"skipped {file.path}: {file.reason}")
    _require_rows(data, manifest, listing, loader)
    _write_quarantine(manifest, store)
    # From here on the shards are no longer those of an earlier ledger.
    (store.directory / LEDGER).unlink(missing_ok=True)
    manifest.finished = False
    manifest.forget_other_shards()
    manifest.save(store.directory)
    store.sweep(_named(manifest, store))
    return manifest


def _named(manifest: Manifest, store: Store) -> dict[str, set[str]]:
    """The files of each folder that the manifest knows."""
    aside = {quarantine_part(store, f.path).name for f in manifest.files if f.quarantined}
    named = {ROWS_FOLDER: {store.path(ROWS_FOLDER, k).name for k in manifest.shards} | aside}
    for record in manifest.stages:
        named[record.kind] = {store.path(record.kind, key).name for key in record.parts}
    return named


class _Loader:
    """Reads one input after the other into the manifest, within the limit of rows."""

    def __init__(
        self,
        settings: LoadSettings,
        store: Store,
        progress: Progress,
        manifest: Manifest,
        old: Mapping[str, FileRecord],
    ) -> None:
        self._settings = settings
        self._remaining = settings.limit
        self._store = store
        self._progress = progress
        self._manifest = manifest
        self._old = old
        self.bad: list[Quarantined] = []

    def bring(self, source: Input, digest: str, shards: Mapping[str, Any]) -> None:
        """Take an input over from the earlier run, or read it."""
        if self._remaining == 0:
            return
        dumped = self._settings.model_dump(mode="json", exclude={"limit"})
        expected = fingerprint(
            "load", self._settings.version, dumped, source.name, digest, self._remaining
        )
        record = self._old.get(source.name)
        if record is None or record.fingerprint != expected or not self._intact(record, shards):
            record = self._read(source, digest, expected)
        else:
            self._manifest.shards |= {key: shards[key] for key in record.shards}
            self._progress.advance(record.rows + record.quarantined)
        if record is not None:
            self._manifest.files.append(record)
            if self._remaining is not None:
                self._remaining -= record.rows + record.quarantined

    def _intact(self, record: FileRecord, shards: Mapping[str, Any]) -> bool:
        quarantine = quarantine_part(self._store, record.path)
        if record.quarantined and (
            not quarantine.is_file() or file_sha256(quarantine) != record.quarantine_sha256
        ):
            return False
        return all(
            key in shards and self._store.intact(ROWS_FOLDER, key, shards[key])
            for key in record.shards
        )

    def _read(self, source: Input, digest: str, expected: str) -> FileRecord | None:
        record = FileRecord(
            path=source.name,
            sha256=digest,
            bytes=source.size(),
            fingerprint=expected,
            rows=0,
            quarantined=0,
        )
        bad: list[Quarantined] = []
        ids = _SourceIds()
        for event in source.load(self._settings, limit=self._remaining):
            match event:
                case FileFacts():
                    record.container, record.format = event.container, event.format
                case LoadedShard():
                    self._keep(event, record)
                    ids.add(event)
                case Quarantined():
                    bad.append(event)
                    self._progress.advance()
                case Problem():
                    record.problems.append(event.reason)
                case Skipped():
                    self._manifest.skipped.append(SkippedFile(path=event.path, reason=event.reason))
                    return None
        record.problems += ids.warning()
        record.quarantined = len(bad)
        if bad:
            path = quarantine_part(self._store, record.path)
            write_atomically(path, lambda tmp: _write_lines(tmp, bad))
            record.quarantine_sha256 = file_sha256(path)
        self.bad += bad[: _SHOWN + 2]
        return record

    def _keep(self, shard: LoadedShard, record: FileRecord) -> None:
        self._manifest.shards[shard.key] = self._store.write(
            ROWS_FOLDER, shard.key, shard.table, fingerprint=shard.key
        )
        record.shards.append(shard.key)
        record.rows += shard.table.num_rows
        self._progress.advance(shard.table.num_rows)


class _SourceIds:
    """Counts rows whose source id was seen before in the same file."""

    def __init__(self) -> None:
        self._seen: set[int] = set()
        self._repeated = 0
        self._example = ""

    def add(self, shard: LoadedShard) -> None:
        for source_id in pc.drop_null(shard.table["source_id"]).to_pylist():
            if hash(source_id) in self._seen:
                self._repeated += 1
                self._example = self._example or source_id
            self._seen.add(hash(source_id))

    def warning(self) -> list[str]:
        if not self._repeated:
            return []
        return [f"{self._repeated} rows repeat an id of this file, the first is {self._example!r}"]


def quarantine_part(store: Store, name: str) -> Path:
    """Where the bad rows of one input are kept; a name from outside is never a path."""
    key = sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return store.directory / ROWS_FOLDER / f"quarantine-{key}.jsonl"


def _write_lines(path: Path, bad: list[Quarantined]) -> None:
    with path.open("w", encoding="utf-8") as lines:
        for row in bad:
            lines.write(json.dumps(asdict(row), ensure_ascii=False) + "\n")


def _write_quarantine(manifest: Manifest, store: Store) -> None:
    """Put the bad rows of all inputs together, in input order."""

    def write(path: Path) -> None:
        with path.open("wb") as whole:
            for record in manifest.files:
                if record.quarantined:
                    whole.write(quarantine_part(store, record.path).read_bytes())

    path = store.directory / QUARANTINE
    write_atomically(path, write)
    manifest.outputs = {QUARANTINE: file_sha256(path)}


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
        ours = (".lock", LOG, CACHE)  # answers may be brought along from another run
        strangers = sorted(p.name for p in directory.iterdir() if not p.name.startswith(ours))
        if strangers and not (directory / (MANIFEST + DAMAGED)).exists():
            raise RunMismatchError(
                f"{directory}: holds no run but {_some(strangers)}; give an empty or new --out"
            )
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


def _require_rows(data: Data, manifest: Manifest, listing: Listing, loader: _Loader) -> None:
    if not manifest.shards:
        skipped = [Skipped(path=s.path, reason=s.reason) for s in manifest.skipped]
        shown = str(data) if isinstance(data, str | Path) else listing.inputs[0].name
        raise nothing_readable(shown, skipped, loader.bad)
