"""The files of a run directory: row shards, stage columns, the lock.

Every shard file is written to a temporary name, fsynced and renamed; only then does the manifest
name it. Reading checks the checksum.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import shutil
import socket
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from filelock import BaseFileLock, FileLock, Timeout

from clear_pipeline.durable import (
    file_sha256,
    has_ended,
    is_left_behind,
    temporary_name,
    write_atomically,
    writing,
)
from clear_pipeline.errors import DamagedRunError, RunLockedError, UsageError
from clear_pipeline.load.remote_file import FETCHED
from clear_pipeline.manifest import Part
from clear_pipeline.stages.base import Shard

logger = logging.getLogger(__name__)

ROWS_FOLDER = "rows"
LEDGER = "ledger.parquet"
QUARANTINE = "quarantine.jsonl"
CACHE = "llm-cache.sqlite"
SPEND = "spend.sqlite"
BATCHES = "batches"
EXPORT = "export"
CARD = "DATASET_CARD.md"
REPORT = "report.html"
CONFIG = "config.yaml"
_LOCK = ".lock"
_HOLDER = ".lock-holder"

_PART = re.compile(r"(part-[0-9a-f]{16}\.parquet|quarantine-[0-9a-f]{16}\.jsonl)")


def write_table(path: Path, table: pa.Table) -> None:
    """Write Parquet durably; equal tables give equal bytes."""
    write_atomically(path, lambda tmp: pq.write_table(table, tmp, compression="zstd"))


def _leaves(schema: pq.ParquetSchema, columns: Collection[str]) -> Iterator[str]:
    """The paths in a Parquet file that columns, or fields of theirs, have there."""
    for leaf in range(len(schema)):
        path = schema.column(leaf).path
        names = path.replace(".list.element", "").split(".")
        if any(".".join(names[:depth]) in columns for depth in range(1, len(names) + 1)):
            yield path


class Store:
    """Shard files under one run directory.

    Args:
        directory: The run directory; created on the first write.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._verified: set[tuple[str, str]] = set()

    def __reduce__(self) -> tuple[object, ...]:
        """A copy in another process has verified nothing yet."""
        return Store, (self.directory,)

    def path(self, folder: str, key: str) -> Path:
        """Where the shard `key` of a stage (or of `rows`) lies."""
        return self.directory / folder / f"part-{key}.parquet"

    def quarantine_path(self, name: str) -> Path:
        """Where the bad rows of one input are kept; a name from outside is never a path."""
        key = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:16]
        return self.directory / ROWS_FOLDER / f"quarantine-{key}.jsonl"

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

    def read(
        self, folder: str, key: str, part: Part, columns: Collection[str] | None = None
    ) -> pa.Table:
        """Read one shard file.

        Args:
            folder: Of the stage, or `rows`.
            key: The shard.
            part: What the manifest says of it.
            columns: Names of those that are wanted, as far as the file has them; all by default.
                `messages.content` is a field of the structs in `messages`.

        Raises:
            DamagedRunError: It is missing or its bytes changed.
        """
        if not self.intact(folder, key, part):
            raise DamagedRunError(
                f"{self.path(folder, key)}: missing or changed since it was written; "
                "run the same command again to compute it anew"
            )
        with pq.ParquetFile(self.path(folder, key), memory_map=False) as file:
            wanted = None if columns is None else list(_leaves(file.schema, columns))
            return file.read(wanted, use_threads=False)  # a shard is too small to be shared out

    def joined(
        self, key: str, parts: Sequence[tuple[str, Part]], columns: Collection[str] | None = None
    ) -> Shard:
        """Rows of a shard with the columns of the given stages, joined by position.

        Args:
            key: The shard.
            parts: (folder, part), `rows` first.
            columns: Those that are wanted, as in `read`, and `id`; all by default.

        Raises:
            DamagedRunError: A file is damaged, or its ids are not those of the rows.
        """
        (folder, part), *later = parts
        wanted = None if columns is None else {"id", *columns}
        table = self.read(folder, key, part, wanted)
        for folder, part in later:
            added = self.read(folder, key, part, wanted)
            if added["id"] != table["id"]:
                raise DamagedRunError(
                    f"{self.path(folder, key)}: its ids are not those of the rows; "
                    "delete it and run the same command again"
                )
            for name in added.column_names:
                if name != "id":
                    table = table.append_column(added.schema.field(name), added[name])
        return Shard(key, table)

    def sweep(self, named: Mapping[str, Collection[str]]) -> None:
        """Delete what ended processes and removed rows left behind; only under the lock.

        What another process is writing, such as an export, stays.

        Args:
            named: By folder, the names of the files in it that the manifest knows.
        """
        folders = [path for path in self.directory.iterdir() if path.is_dir()]
        kept = [path for path in folders if not is_left_behind(path.name)]
        for folder in (self.directory, *kept):
            for path in folder.iterdir():
                left = is_left_behind(path.name) or path.name == FETCHED
                if path.is_dir() and not path.is_symlink():
                    if left:
                        shutil.rmtree(path)
                elif left or (
                    _PART.fullmatch(path.name) and path.name not in named.get(folder.name, ())
                ):
                    path.unlink()

    @property
    def scratch(self) -> Path:
        """Where files lie that nobody wants again; not made yet, and swept if it is left behind."""
        return self.directory / temporary_name("scratch")

    @contextmanager
    def locked(self, note: Callable[[str], None] = logger.info) -> Iterator[None]:
        """Hold the run for this process.

        The lock is the operating system's: it ends with its process, however that dies. A name
        that a dead process left beside it is told and taken over.

        Args:
            note: Told of such a name.

        Raises:
            RunLockedError: Another process holds it; the message says which, and since when.
            UsageError: The directory cannot be written, or its file system has no locks.
        """
        lock = self._acquired()
        holder = self.directory / _HOLDER
        try:
            if holder.is_file():
                who = _who(self.directory)
                note(f"{who}, held this run and ended without giving it back; going on")
            since = datetime.now(UTC).isoformat(timespec="seconds")
            mine = os.getpid()
            me = Holder(mine, socket.gethostname(), since, _began(mine))._asdict()
            with writing(holder):
                holder.write_text(json.dumps(me) + "\n", encoding="utf-8")
            yield
        finally:
            holder.unlink(missing_ok=True)
            lock.release()

    def _acquired(self) -> BaseFileLock:
        lock = FileLock(self.directory / _LOCK)
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=0)
        except Timeout:
            who = _who(self.directory)
            raise RunLockedError(
                f"{self.directory}: in use by {who}; wait for it, or use another --out"
            ) from None
        except (OSError, NotImplementedError) as error:
            said = getattr(error, "strerror", None) or error
            raise UsageError(
                f"{self.directory}: cannot be used as a run directory ({said}); give another --out"
            ) from error
        return lock


class Holder(NamedTuple):
    """Who holds a run, or held it last and died.

    Attributes:
        process: Its number.
        host: Its machine.
        since: When it took the run, an ISO time.
        began: When the process began, as Linux counts it, in ticks since the machine's start; None
            elsewhere. It tells the process from a later one that was given its number.
    """

    process: int
    host: str
    since: str
    began: int | None = None

    @property
    def is_here(self) -> bool:
        """Whether it is a process of this machine: of another one nobody knows if it still runs."""
        return self.host == socket.gethostname()

    @property
    def has_ended(self) -> bool:
        """Whether it is known to run no more."""
        if not self.is_here:
            return False
        if has_ended(self.process):
            return True
        now = _began(self.process)
        return None not in (self.began, now) and self.began != now


def _began(process: int) -> int | None:
    try:
        stat = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    after_name = stat.rpartition(")")[2].split()  # the name may hold anything
    try:
        return int(after_name[19])
    except (IndexError, ValueError):
        return None


def holder_of(directory: Path) -> Holder | None:
    """Who holds the run; None while nobody does, whatever name a killed process left."""
    named = _named(directory)
    return None if named is None or named.has_ended else named


def _named(directory: Path) -> Holder | None:
    """The name that stands beside the lock."""
    try:
        named = json.loads((directory / _HOLDER).read_text(encoding="utf-8"))
        began = named.get("began")
        process, host, since = int(named["process"]), str(named["host"]), str(named["since"])
        return Holder(process, host, since, None if began is None else int(began))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _who(directory: Path) -> str:
    """The holder in words, as far as it can be told from here."""
    holder = _named(directory)
    if holder is None:
        return "another process"
    if not holder.is_here:
        return f"process {holder.process} on the machine {holder.host}, since {holder.since}"
    state = "it has ended" if holder.has_ended else "running"
    return f"process {holder.process} of this machine ({state}), since {holder.since}"
