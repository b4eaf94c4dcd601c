"""The first step of a run: DATA becomes row shards and a quarantine, file by file.

A file whose bytes and settings are those of an earlier run is not read again.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow.compute as pc

from clear_pipeline.claim import Claim
from clear_pipeline.durable import TEMPORARY, file_sha256, write_atomically
from clear_pipeline.errors import UsageError
from clear_pipeline.formats.base import shown as columns_shown
from clear_pipeline.load import (
    DataFile,
    FileFacts,
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
from clear_pipeline.row_files import JsonLines
from clear_pipeline.run_log import RunLog
from clear_pipeline.stages.base import Progress
from clear_pipeline.store import LEDGER, QUARANTINE, ROWS_FOLDER, Store

Input: TypeAlias = DataFile | MemoryTable
_TOLD = 5
"""Bad rows that an error may name."""


def ingest(
    claim: Claim, settings: LoadSettings, store: Store, progress: Progress, log: RunLog
) -> Manifest:
    """Bring the row shards of a claimed run directory up to date with DATA.

    Returns:
        The manifest, saved, with a record of every file and shard.

    Raises:
        NothingReadableError: DATA holds no usable row.
        UsageError: No file has the columns that are mapped.
    """
    listing, manifest = claim.listing, claim.manifest
    before = manifest.row_parts()
    old = {record.path: record for record in manifest.files}
    shards = dict(manifest.shards)
    loader = _Loader(settings, store, progress, log, manifest, old)
    manifest.skipped = [SkippedFile(path=s.path, reason=s.reason) for s in listing.skipped]
    manifest.files, manifest.shards = [], {}
    progress.start("load", 0)
    try:
        for source in listing.inputs:
            loader.bring(source, claim.digests[source.name], shards)
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
    if manifest.row_parts() != before:  # then an earlier ledger is of other rows
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
        log: RunLog,
        manifest: Manifest,
        old: Mapping[str, FileRecord],
    ) -> None:
        self._settings = settings
        self._remaining = settings.limit
        self._store = store
        self._progress = progress
        self._log = log
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
        if record is None or record.fingerprint != expected or self._damaged(record, shards):
            record = self._read(source, digest, expected)
        else:
            self._manifest.shards |= {key: shards[key] for key in record.shards}
            self._progress.advance(record.rows + record.quarantined)
        if record is not None:
            self._manifest.files.append(record)
            if self._remaining is not None:
                self._remaining -= record.rows + record.quarantined

    def _damaged(self, record: FileRecord, shards: Mapping[str, Any]) -> bool:
        """Whether files that were made of an input are gone or changed; told if so."""
        damaged = sum(
            key not in shards or not self._store.intact(ROWS_FOLDER, key, shards[key])
            for key in record.shards
        )
        bad_rows = quarantine_part(self._store, record.path)
        if record.quarantined and (
            not bad_rows.is_file() or file_sha256(bad_rows) != record.quarantine_sha256
        ):
            damaged += 1
        if damaged:
            self._progress.note(
                f"{record.path}: {damaged} of its files in {ROWS_FOLDER}/ are missing or damaged; "
                "it is read again"
            )
            self._log.event("damaged", logging.WARNING, stage="load", files=damaged)
        return damaged > 0

    def _read(self, source: Input, digest: str, expected: str) -> FileRecord | None:
        record = FileRecord(
            path=source.name,
            sha256=digest,
            bytes=source.size(),
            fingerprint=expected,
            rows=0,
            quarantined=0,
        )
        ids = Repeats()
        with closing(_Aside(quarantine_part(self._store, record.path))) as aside:
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
                        skipped = SkippedFile(path=event.path, reason=event.reason)
                        self._manifest.skipped.append(skipped)
                        return None
            record.quarantined, record.quarantine_sha256 = aside.rows, aside.publish()
        record.problems += self._repeated(ids, record)
        self.bad += aside.first
        return record

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


class _Aside:
    """The bad rows of one input, on their way into a file; it is not there without any.

    Args:
        path: Where they are to lie.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._unfinished = path.with_name(f".{path.name}.rows.{os.getpid()}{TEMPORARY}")
        self._lines: JsonLines | None = None
        self.rows = 0
        self.first: list[Quarantined] = []

    def add(self, row: Quarantined) -> None:
        """Append a row."""
        if self._lines is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._lines = JsonLines(self._unfinished)
        self._lines.write(asdict(row))
        self.rows += 1
        if len(self.first) < _TOLD:
            self.first.append(row)

    def publish(self) -> str:
        """Put the file in its place; its checksum, "" where there is none."""
        if self._lines is None:
            return ""
        self._lines.close()

        def put(temporary: Path) -> None:
            self._unfinished.replace(temporary)

        write_atomically(self._path, put)
        return file_sha256(self._path)

    def close(self) -> None:
        """Leave nothing unfinished."""
        if self._lines is not None:
            self._lines.close()
            self._unfinished.unlink(missing_ok=True)


def quarantine_part(store: Store, name: str) -> Path:
    """Where the bad rows of one input are kept; a name from outside is never a path."""
    key = sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return store.directory / ROWS_FOLDER / f"quarantine-{key}.jsonl"


def _write_quarantine(manifest: Manifest, store: Store) -> None:
    """Put the bad rows of all inputs together, in input order."""

    def write(path: Path) -> None:
        with path.open("wb") as whole:
            for record in manifest.files:
                if record.quarantined:
                    with quarantine_part(store, record.path).open("rb") as part:
                        shutil.copyfileobj(part, whole)

    path = store.directory / QUARANTINE
    write_atomically(path, write)
    manifest.outputs = {QUARANTINE: file_sha256(path)}


def _require_rows(claim: Claim, loader: _Loader) -> None:
    if not claim.manifest.shards:
        skipped = [Skipped(path=s.path, reason=s.reason) for s in claim.manifest.skipped]
        raise nothing_readable(claim.shown, skipped, loader.bad)


def _require_mapped(settings: LoadSettings, manifest: Manifest, store: Store) -> None:
    """Refuse a map of columns that no file was read with: it is a slip."""
    mapped = {format_.key for format_ in settings.mapped}
    if not mapped or any(record.format in mapped for record in manifest.files):
        return
    found = []
    for record in manifest.files[:_TOLD]:
        for key in record.shards[:1]:
            table = store.read(ROWS_FOLDER, key, manifest.shards[key])
            found.append(
                f"{record.path}: {columns_shown(list(json.loads(table['original'][0].as_py())))}"
            )
    wanted = ", ".join(f"{field}={column}" for field, column in (settings.map or {}).items())
    raise UsageError(
        f"map: no file has the columns of {wanted}; found:" + "".join(f"\n  {f}" for f in found)
    )
