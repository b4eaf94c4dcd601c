"""`manifest.json`: what a run directory holds, with the fingerprint and checksum of each part.

The manifest is written after the files that it names, never before, and always as a whole
(temporary name, fsync, rename). A file that it does not name does not exist for a resumed run.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from clear_pipeline.errors import DamagedRunError
from clear_pipeline.schema import JSON, canonical_json

MANIFEST = "manifest.json"
IN_MEMORY = "memory"
"""`Manifest.source` of data that was no file."""


class Part(BaseModel):
    """One shard file of one stage.

    Attributes:
        fingerprint: Everything that its content depends on, hashed.
        sha256: Of the file's bytes.
        rows: Rows in it.
        failed: Rows whose model call failed in a way that a later try may mend; a resumed run
            computes a part with failures again, from the cache where calls were answered.
    """

    model_config = ConfigDict(extra="forbid")

    fingerprint: str
    sha256: str
    rows: int
    failed: int = 0


class FileRecord(BaseModel):
    """One input file: what it is, and the row shards that were cut from it, in order."""

    model_config = ConfigDict(extra="forbid")

    path: str
    sha256: str
    bytes: int
    container: str = ""
    format: str = ""
    fingerprint: str
    rows: int
    quarantined: int
    quarantine_sha256: str = ""
    shards: list[str] = Field(default_factory=list)
    problems: list[str] = Field(default_factory=list)


class SkippedFile(BaseModel):
    """A file of the directory that is no data, and why."""

    model_config = ConfigDict(extra="forbid")

    path: str
    reason: str


class StageRecord(BaseModel):
    """One stage: its settings and its parts by shard key."""

    model_config = ConfigDict(extra="forbid")

    kind: str
    version: int
    settings: dict[str, Any]
    models: dict[str, str] = Field(default_factory=dict)
    fingerprint: str = ""
    parts: dict[str, Part] = Field(default_factory=dict)
    notes: list[str] = Field(default_factory=list)


class ModelRecord(BaseModel):
    """A model that the run used, by role; never a key."""

    model_config = ConfigDict(extra="forbid")

    model: str
    endpoint: str
    identity: str


class Manifest(BaseModel):
    """The whole file. `usage` is by role, over all resumes."""

    model_config = ConfigDict(extra="forbid")

    schema_version: Literal[1] = 1
    package_version: str
    dataset: str
    source: str
    files: list[FileRecord] = Field(default_factory=list)
    skipped: list[SkippedFile] = Field(default_factory=list)
    shards: dict[str, Part] = Field(default_factory=dict)
    chain: list[str] = Field(default_factory=list)
    stages: list[StageRecord] = Field(default_factory=list)
    models: dict[str, ModelRecord] = Field(default_factory=dict)
    usage: dict[str, dict[str, Any]] = Field(default_factory=dict)
    fates: dict[str, int] = Field(default_factory=dict)
    export: dict[str, Any] = Field(default_factory=dict)
    finished: bool = False

    def stage(self, kind: str) -> StageRecord | None:
        """The record of that stage, if it ever ran."""
        return next((s for s in self.stages if s.kind == kind), None)

    def put_stage(self, record: StageRecord) -> None:
        """Enter a stage's record in place of its older one."""
        self.stages = [s for s in self.stages if s.kind != record.kind] + [record]

    def chain_parts(self, key: str) -> list[tuple[str, Part]]:
        """(folder, part) of a shard for the stages of the latest chain that have computed it."""
        records = [record for kind in self.chain if (record := self.stage(kind)) is not None]
        return [(record.kind, record.parts[key]) for record in records if key in record.parts]

    def shard_keys(self) -> list[str]:
        """Keys of all row shards in input order."""
        return [key for file in self.files for key in file.shards]

    def save(self, directory: Path) -> None:
        """Write it durably into the run directory."""
        text = json.dumps(self.model_dump(mode="json"), indent=1, ensure_ascii=False)
        write_text_atomically(directory / MANIFEST, text + "\n")

    @classmethod
    def read(cls, directory: Path) -> Manifest | None:
        """Read it back; None where there is no run yet.

        Raises:
            DamagedRunError: It cannot be parsed.
        """
        path = directory / MANIFEST
        try:
            return cls.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return None
        except (ValidationError, UnicodeDecodeError) as error:
            raise DamagedRunError(
                f"{path}: not a manifest of this version ({_first_line(error)}); "
                "restore the file, or give another --out: with llm-cache.sqlite of this directory "
                "copied into it, no answer is asked for twice"
            ) from error


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]


def fingerprint(*parts: JSON) -> str:
    """32 hex digits that differ whenever any part differs."""
    return hashlib.sha256(canonical_json(list(parts)).encode()).hexdigest()[:32]


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_atomically(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a temporary file beside `path`, then make it durable under its name.

    After a crash the old content or the new is there, never a part of one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write(temporary)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_directory(path.parent)


def write_text_atomically(path: Path, text: str) -> None:
    """`write_atomically` for a text."""

    def write(temporary: Path) -> None:
        temporary.write_text(text, encoding="utf-8")

    write_atomically(path, write)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
