"""The first step of a run: DATA becomes row shards and a quarantine, file by file.

A file whose bytes and settings are those of an earlier run is not read again.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, suppress
from itertools import islice
from pathlib import Path
from typing import Final

import pyarrow.compute as pc

from clear_pipeline.aside import Aside
from clear_pipeline.claim import Claim
from clear_pipeline.durable import file_sha256, write_atomically
from clear_pipeline.earlier import Earlier
from clear_pipeline.errors import UnwritableError, UsageError
from clear_pipeline.formats.base import shown as columns_shown
from clear_pipeline.load import (
    DataFile,
    FileFacts,
    Input,
    LoadedShard,
    LoadSettings,
    MemoryTable,
    Problem,
    Quarantined,
    Skipped,
    nothing_readable,
)
from clear_pipeline.manifest import (
    FileRecord,
    Manifest,
    SkippedFile,
    fingerprint,
)
from clear_pipeline.repeats import Repeats
from clear_pipeline.run_log import RunLog
from clear_pipeline.schema import JSON
from clear_pipeline.stages.base import Progress
from clear_pipeline.store import QUARANTINE, ROWS_FOLDER, Store

_TOLD = 5
"""Files that an error may name."""
_SAVE_AFTER: Final = 64 << 20
"""Fetched bytes after which the manifest is saved, so that a killed run fetches no more again."""


def ingest(
    claim: Claim, settings: LoadSettings, store: Store, progress: Progress, log: RunLog
) -> Manifest:
    """Bring the row shards of a claimed run directory up to date with DATA.

    Returns:
        The manifest, saved, with a record of every file and shard.

    Raises:
        NothingReadableError: DATA holds no usable row.
        UsageError: A mapped column is in no file.
    """
    listing, manifest = claim.listing, claim.manifest
    earlier = Earlier(manifest.model_copy(), store, progress, log)
    loader = _Loader(settings, store, progress, manifest, earlier)
    manifest.skipped = [SkippedFile(path=s.path, reason=s.reason) for s in listing.skipped]
    manifest.files, manifest.shards, manifest.finished = [], {}, False
    progress.start("load", 0)
    try:
        loader.bring_all(listing.inputs, claim.digests)
    finally:
        progress.finish()
    for record in manifest.files:
        for problem in record.problems:
            progress.note(f"{record.path}: {problem}")
    for file in manifest.skipped:
        progress.note(f"skipped {file.path}: {file.reason}")
    _require_rows(claim, loader)
    _require_mapped(settings, manifest, store)
    _write_quarantine(manifest, store)
    manifest.forget_other_shards()
    earlier.save(manifest)
    store.sweep(_named(manifest, store))
    return manifest


def _named(manifest: Manifest, store: Store) -> dict[str, set[str]]:
    """The files of each folder that the manifest knows."""
    aside = {store.quarantine_path(f.path).name for f in manifest.files if f.quarantined}
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
        earlier: Earlier,
    ) -> None:
        self._settings = settings
        self._remaining = settings.limit
        self._store = store
        self._progress = progress
        self._manifest = manifest
        self._earlier = earlier
        self._unsaved = 0
        self.bad: list[Quarantined] = []

    def bring_all(self, inputs: Sequence[Input], digests: Mapping[str, str]) -> None:
        """Bring the inputs in turn. If that is stopped, little that was fetched is fetched again.

        Args:
            inputs: Of the run.
            digests: SHA-256 by name; of a file elsewhere only if it is as it was.
        """
        for position, source in enumerate(inputs):
            try:
                self._bring(source, digests.get(source.name))
            except BaseException:
                if self._unsaved:
                    with suppress(UnwritableError):  # the error that stopped the run is told
                        self._earlier.save_with(self._manifest, inputs[position:])
                raise
            if self._unsaved > _SAVE_AFTER:
                self._earlier.save_with(self._manifest, inputs[position + 1 :])
                self._unsaved = 0

    def _bring(self, source: Input, digest: str | None) -> None:
        """Take an input over from the earlier run, or read it."""
        if self._remaining == 0 or (digest and self._taken_over(source.name, digest)):
            return
        with source.here(self._store.directory) as file:
            if file is source and digest:
                self._read(file, digest)
                return
            self._unsaved += file.size()
            found = file.digest()
            if found == digest or not self._taken_over(file.name, found, file.stamp):
                self._read(file, found)

    def _taken_over(self, name: str, digest: str, stamp: str = "") -> bool:
        """Whether what an earlier run made of an input holds, and is now this run's.

        Args:
            name: Of the input.
            digest: SHA-256 of its bytes.
            stamp: With which it was just fetched.
        """
        record = self._earlier.record(name, self._fingerprint(name, digest))
        if record is None:
            return False
        record.stamp = stamp or record.stamp
        if isinstance(record, SkippedFile):
            self._manifest.skipped.append(record)
            return True
        self._manifest.shards |= self._earlier.shards_of(record)
        self._progress.advance(record.rows + record.quarantined)
        self._enter(record)
        return True

    def _fingerprint(self, name: str, digest: str) -> str:
        dumped = self._settings.model_dump(mode="json", exclude={"limit"})
        return fingerprint("load", self._settings.version, dumped, name, digest, self._remaining)

    def _enter(self, record: FileRecord) -> None:
        self._manifest.files.append(record)
        if self._remaining is not None:
            self._remaining -= record.rows + record.quarantined

    def _read(self, source: DataFile | MemoryTable, digest: str) -> None:
        record = FileRecord(
            path=source.name,
            sha256=digest,
            bytes=source.size(),
            stamp=source.stamp,
            fingerprint=self._fingerprint(source.name, digest),
            rows=0,
            quarantined=0,
        )
        ids = Repeats()
        with closing(Aside(self._store.quarantine_path(record.path))) as aside:
            for event in source.load(self._settings, limit=self._remaining):
                match event:
                    case FileFacts():
                        record.container, record.format = event.container, event.format
                    case LoadedShard():
                        self._keep(event, record)
                        ids.add(pc.drop_null(event.table["source_id"]))
                    case Quarantined():
                        aside.add(event)
                        self._progress.advance()
                    case Problem():
                        record.problems.append(event.reason)
                    case Skipped():
                        self._manifest.skipped.append(_skipped(record, event.reason))
                        return
            record.quarantined, record.quarantine_sha256 = aside.rows, aside.publish()
        record.problems += self._repeated(ids, record)
        self.bad += aside.first
        self._enter(record)

    def _repeated(self, ids: Repeats, record: FileRecord) -> list[str]:
        """What the user must know of ids of the source that stand in a file twice."""
        repeated = ids.found()
        if not repeated.size:
            return []
        shard, position = ids.place(repeated[0])
        key = record.shards[shard]
        table = self._store.read(ROWS_FOLDER, key, self._manifest.shards[key])
        first = pc.drop_null(table["source_id"])[position].as_py()
        return [f"{repeated.size} rows repeat an id of this file, the first is {first!r}"]

    def _keep(self, shard: LoadedShard, record: FileRecord) -> None:
        self._manifest.shards[shard.key] = self._store.write(
            ROWS_FOLDER, shard.key, shard.table, fingerprint=shard.key
        )
        record.shards.append(shard.key)
        record.rows += shard.table.num_rows
        self._progress.advance(shard.table.num_rows)


def _skipped(record: FileRecord, reason: str) -> SkippedFile:
    if not record.stamp:  # to look at it again costs little, and the reason may pass
        return SkippedFile(path=record.path, reason=reason)
    seen = record.model_dump(include={"path", "sha256", "bytes", "stamp", "fingerprint"})
    return SkippedFile(**seen, reason=reason)


def _write_quarantine(manifest: Manifest, store: Store) -> None:
    """Put the bad rows of all inputs together, in input order."""

    def write(path: Path) -> None:
        with path.open("wb") as whole:
            for record in manifest.files:
                if record.quarantined:
                    with store.quarantine_path(record.path).open("rb") as part:
                        shutil.copyfileobj(part, whole)

    path = store.directory / QUARANTINE
    write_atomically(path, write)
    manifest.outputs = {QUARANTINE: file_sha256(path)}


def _require_rows(claim: Claim, loader: _Loader) -> None:
    if not claim.manifest.shards:
        skipped = [Skipped(path=s.path, reason=s.reason) for s in claim.manifest.skipped]
        raise nothing_readable(claim.shown, skipped, loader.bad)


def _require_mapped(settings: LoadSettings, manifest: Manifest, store: Store) -> None:
    """Refuse a map of a column that no row has which was read with the map: it is a slip."""
    keys = {format_.key for format_ in settings.mapped}
    left = dict(settings.map or {})
    for record in manifest.files:
        if record.format in keys and not record.shards:
            return  # what its rows have is not known: all are in the quarantine
        for row in _originals(record, manifest, store) if record.format in keys else ():
            left = {field: column for field, column in left.items() if column not in row}
            if not left:
                return
    if left:
        raise UsageError(_not_there(left, manifest, store))


def _originals(
    record: FileRecord, manifest: Manifest, store: Store
) -> Iterator[Mapping[str, JSON]]:
    """The rows of a file as they stood in it, without those in the quarantine."""
    for key in record.shards:
        table = store.read(ROWS_FOLDER, key, manifest.shards[key])
        yield from (json.loads(original.as_py()) for original in table["original"])


def _not_there(left: Mapping[str, str], manifest: Manifest, store: Store) -> str:
    """What to say of mapped columns, by field, that are not there."""
    wanted = ", ".join(f"{field}={column}" for field, column in left.items())
    firsts = [
        f"\n  {record.path}: {columns_shown(list(row))}"
        for record in manifest.files[:_TOLD]
        for row in islice(_originals(record, manifest, store), 1)
    ]
    return f"map: no file has the columns of {wanted}; found:{''.join(firsts)}"
