"""The files of a run directory: row shards, stage columns, the lock.

Every shard file is written to a temporary name, fsynced and renamed; only then does the manifest
name it. Reading checks the checksum.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock, Timeout

from clear_pipeline.errors import DamagedRunError, RunLockedError, UsageError
from clear_pipeline.manifest import Part, file_sha256, write_atomically
from clear_pipeline.stages.base import Shard

ROWS_FOLDER = "rows"
LEDGER = "ledger.parquet"
QUARANTINE = "quarantine.jsonl"
CACHE = "llm-cache.sqlite"
EXPORT = "export"
CARD = "DATASET_CARD.md"
REPORT = "report.html"
CONFIG = "config.yaml"


def write_table(path: Path, table: pa.Table) -> None:
    """Write Parquet durably; equal tables give equal bytes."""
    write_atomically(path, lambda tmp: pq.write_table(table, tmp, compression="zstd"))


class Store:
    """Shard files under one run directory.

    Args:
        directory: The run directory; created on the first write.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._verified: set[tuple[str, str]] = set()

    def path(self, folder: str, key: str) -> Path:
        """Where the shard `key` of a stage (or of `rows`) lies."""
        return self.directory / folder / f"part-{key}.parquet"

    def write(
        self, folder: str, key: str, table: pa.Table, *, fingerprint: str, failed: int = 0
    ) -> Part:
        """Write one shard file and describe it for the manifest."""
        path = self.path(folder, key)
        write_table(path, table)
        digest = file_sha256(path)
        self._verified.add((str(path), digest))
        return Part(fingerprint=fingerprint, sha256=digest, rows=table.num_rows, failed=failed)

    def intact(self, folder: str, key: str, part: Part) -> bool:
        """Whether the file is there with the bytes that the manifest promises."""
        path = self.path(folder, key)
        if (str(path), part.sha256) in self._verified:
            return True
        if not path.is_file() or file_sha256(path) != part.sha256:
            return False
        self._verified.add((str(path), part.sha256))
        return True

    def read(self, folder: str, key: str, part: Part) -> pa.Table:
        """Read one shard file.

        Raises:
            DamagedRunError: It is missing or its bytes changed.
        """
        if not self.intact(folder, key, part):
            raise DamagedRunError(
                f"{self.path(folder, key)}: missing or changed since it was written; "
                "run the same command again to compute it anew"
            )
        return pq.read_table(self.path(folder, key), memory_map=False)

    def joined(self, key: str, parts: Sequence[tuple[str, Part]]) -> Shard:
        """Rows of a shard with the columns of the given stages, joined by position.

        Args:
            key: The shard.
            parts: (folder, part), `rows` first.

        Raises:
            DamagedRunError: A file is damaged, or its ids are not those of the rows.
        """
        (folder, part), *later = parts
        table = self.read(folder, key, part)
        for folder, part in later:
            columns = self.read(folder, key, part)
            if columns["id"] != table["id"]:
                raise DamagedRunError(
                    f"{self.path(folder, key)}: its ids are not those of the rows; "
                    "delete it and run the same command again"
                )
            for name in columns.column_names:
                if name != "id":
                    table = table.append_column(columns.schema.field(name), columns[name])
        return Shard(key, table)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the run for this process.

        The lock is the operating system's: it ends with its process, however that dies.

        Raises:
            RunLockedError: Another process holds it; the message says which.
        """
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(
                f"{self.directory}: cannot be made a run directory ({error.strerror}); "
                "give another --out"
            ) from error
        holder = self.directory / ".lock-holder"
        lock = FileLock(self.directory / ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            who = holder.read_text() if holder.is_file() else "another process"
            raise RunLockedError(
                f"{self.directory}: in use by {who.strip()}; wait for it, or use another --out"
            ) from None
        try:
            holder.write_text(f"process {os.getpid()} on {socket.gethostname()}\n")
            yield
        finally:
            holder.unlink(missing_ok=True)
            lock.release()
