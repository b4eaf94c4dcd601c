"""What an earlier run made of the inputs, and how far this one has come."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from clear_pipeline.durable import file_sha256
from clear_pipeline.load import Input
from clear_pipeline.manifest import FileRecord, Manifest, Part, SkippedFile
from clear_pipeline.run_log import RunLog
from clear_pipeline.stages.base import Progress
from clear_pipeline.store import LEDGER, ROWS_FOLDER, Store


class Earlier:
    """The files and row shards of the run that is resumed.

    Args:
        manifest: As it was before this run.
        store: Where the shards are.
        progress: Told of files that are damaged.
        log: The same.
    """

    def __init__(self, manifest: Manifest, store: Store, progress: Progress, log: RunLog) -> None:
        self._manifest = manifest
        self._store = store
        self._progress = progress
        self._log = log
        self._records = manifest.records()

    def record(self, name: str, expected: str) -> FileRecord | SkippedFile | None:
        """What was made of an input, if it holds.

        Args:
            name: Of the input.
            expected: The fingerprint that it has now.
        """
        record = self._records.get(name)
        if record is None or record.fingerprint != expected:
            return None
        if isinstance(record, FileRecord) and self._damaged(record):
            return None
        return record

    def shards_of(self, record: FileRecord) -> dict[str, Part]:
        """The shards that were cut from a file."""
        return {key: self._manifest.shards[key] for key in record.shards}

    def save(self, manifest: Manifest) -> None:
        """Save a manifest durably; a ledger that is of other rows goes before."""
        if manifest.row_parts() != self._manifest.row_parts():
            (self._store.directory / LEDGER).unlink(missing_ok=True)
        manifest.save(self._store.directory)

    def save_with(self, manifest: Manifest, left: Sequence[Input]) -> None:
        """Save what was read so far, together with what is known of the inputs that were not yet.

        Args:
            manifest: With the inputs that were read.
            left: The others.
        """
        names, old = {source.name for source in left}, self._manifest
        files = [*manifest.files, *(file for file in old.files if file.path in names)]
        skipped = [*manifest.skipped, *(file for file in old.skipped if file.path in names)]
        known = old.shards | manifest.shards
        shards = {key: known[key] for file in files for key in file.shards if key in known}
        so_far = {"files": files, "skipped": skipped, "shards": shards}
        self.save(manifest.model_copy(update=so_far))

    def _damaged(self, record: FileRecord) -> bool:
        """Whether files that were made of an input are gone or changed; told if so."""
        shards = self._manifest.shards
        damaged = sum(
            key not in shards or not self._store.intact(ROWS_FOLDER, key, shards[key])
            for key in record.shards
        )
        bad_rows = self._store.quarantine_path(record.path)
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
