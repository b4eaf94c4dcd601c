"""`manifest.json`: what a run directory holds, with the fingerprint and checksum of each part.

The manifest is written after the files that it names, never before. A file that it does not name
does not exist for a resumed run. It is written as a whole (temporary name, fsync, rename) when a
step begins or ends; the parts that a stage finishes meanwhile are lines of a journal beside it,
which the next whole one takes in: so a part costs the same however many there are.

It carries its own checksum, and the one before it stays as `manifest.json.previous`, with its
journal. That one is safe to go back to: what changed since does not match the checksums in it and
is computed again.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError

from clear_pipeline import journal
from clear_pipeline.durable import DAMAGED, write_text_atomically
from clear_pipeline.errors import DamagedRunError, UsageError
from clear_pipeline.schema import JSON, canonical_json

logger = logging.getLogger(__name__)

MANIFEST = "manifest.json"
PREVIOUS = "manifest.json.previous"
_JOURNAL = ".journal"
"""Added to the name of a manifest for the parts that were finished after it was written."""
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
    """One input file: what it is, and the row shards that were cut from it, in order.

    Attributes:
        stamp: What the service that it was fetched from told of it, which changes with its bytes:
            while it and `bytes` hold, `sha256` does.
    """

    model_config = ConfigDict(extra="forbid")

    path: str
    sha256: str
    bytes: int
    stamp: str = ""
    container: str = ""
    format: str = ""
    fingerprint: str
    rows: int
    quarantined: int
    quarantine_sha256: str = ""
    shards: list[str] = Field(default_factory=list)
    problems: list[str] = Field(default_factory=list)


class SkippedFile(BaseModel):
    """A file of the directory that is no data, and why.

    Attributes:
        fingerprint: As in `FileRecord`, with the others; empty but for a file that was fetched.
    """

    model_config = ConfigDict(extra="forbid")

    path: str
    reason: str
    sha256: str = ""
    bytes: int = 0
    stamp: str = ""
    fingerprint: str = ""


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
    """The whole file.

    Attributes:
        source: Path of DATA from the run directory, which may be copied; its address, if it is
            elsewhere; or `IN_MEMORY`.
        outputs: SHA-256 by name of the files that are read back: ledger and quarantine.
        usage: By model, over all resumes; what was spent is repeated from `spend.sqlite`.
        budget: The caps of the last run.
        higher_cap: Name of the cap that stopped the last run, and a value that is likely to do;
            empty where none did.
        revised_estimate: What the run is expected to take, from what its first calls took; empty
            where too few were answered since it last began. See `estimate.revised.Revised`.
    """

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
    budget: dict[str, float] = Field(default_factory=dict)
    higher_cap: dict[str, float] = Field(default_factory=dict)
    revised_estimate: dict[str, Any] = Field(default_factory=dict)
    fates: dict[str, int] = Field(default_factory=dict)
    outputs: dict[str, str] = Field(default_factory=dict)
    export: dict[str, Any] = Field(default_factory=dict)
    finished: bool = False
    _written: str = PrivateAttr(default="")
    """Checksum of the whole one that the journal follows."""

    def stage(self, kind: str) -> StageRecord | None:
        """The record of that stage, if it ever ran."""
        return next((s for s in self.stages if s.kind == kind), None)

    def put_stage(self, record: StageRecord) -> None:
        """Enter a stage's record in place of its older one."""
        self.stages = [s for s in self.stages if s.kind != record.kind] + [record]

    def forget_other_shards(self) -> None:
        """Drop the stages' parts of rows that are no longer there."""
        for record in self.stages:
            record.parts = {key: p for key, p in record.parts.items() if key in self.shards}

    def chain_parts(self, key: str) -> list[tuple[str, Part]]:
        """(folder, part) of a shard for the stages of the latest chain that have computed it."""
        records = [record for kind in self.chain if (record := self.stage(kind)) is not None]
        return [(record.kind, record.parts[key]) for record in records if key in record.parts]

    def row_parts(self) -> list[tuple[str, int, list[tuple[str, Part | None]]]]:
        """Of each file in turn: its name, how many rows were set aside, its row shards."""
        return [
            (file.path, file.quarantined, [(key, self.shards.get(key)) for key in file.shards])
            for file in self.files
        ]

    def records(self) -> dict[str, FileRecord | SkippedFile]:
        """By name, what is known of each file, read or left out."""
        return {file.path: file for file in self.files} | {s.path: s for s in self.skipped}

    def shard_keys(self) -> list[str]:
        """Keys of all row shards in input order."""
        return [key for file in self.files for key in file.shards]

    def counts(self) -> dict[str, int]:
        """What was read: files, rows, rows set aside, files left out, shards."""
        return {
            "files": len(self.files),
            "rows": sum(file.rows for file in self.files),
            "quarantined": sum(file.quarantined for file in self.files),
            "skipped": len(self.skipped),
            "shards": len(self.shards),
        }

    def save(self, directory: Path) -> None:
        """Write it durably into the run directory; the one that was there becomes the previous."""
        path, previous = directory / MANIFEST, directory / PREVIOUS
        body = journal.sealed(self.model_dump(mode="json"))
        text = json.dumps(body, indent=1, ensure_ascii=False)
        replaces = path.exists()
        write_text_atomically(path, text + "\n", previous=previous)
        if replaces and _journal_of(path).exists():
            _journal_of(path).replace(_journal_of(previous))
        self._written = body["sha256"]

    def enter(self, directory: Path, record: StageRecord, key: str) -> None:
        """Enter a part of a stage durably, at a cost that does not grow with the manifest.

        Args:
            directory: Of the run; `save` has written the manifest there.
            record: Of the stage; it has the part already.
            key: Of the part.
        """
        begins = self.stage(record.kind) is not record
        if begins:
            self.put_stage(record)
            change: dict[str, Any] = {"record": record.model_dump(mode="json")}
        else:
            change = {"kind": record.kind, "key": key, "part": record.parts[key].model_dump()}
        entry = {"follows": self._written, **change, "usage": self.usage}
        journal.append(_journal_of(directory / MANIFEST), entry)

    def take_in(
        self, own: Iterable[Mapping[str, Any]], since: Iterable[Mapping[str, Any]] = ()
    ) -> None:
        """Enter what was done after this manifest was written.

        Args:
            own: Lines of its journal; those that follow another manifest are left out.
            since: Lines of the journal of a later one, which is lost.
        """
        for entry in (*(line for line in own if line["follows"] == self._written), *since):
            self.usage = entry["usage"]
            if "record" in entry:
                self.put_stage(StageRecord.model_validate(entry["record"]))
            elif (record := self.stage(entry["kind"])) is not None:
                record.parts[entry["key"]] = Part.model_validate(entry["part"])

    @classmethod
    def read(cls, directory: Path) -> Manifest | None:
        """Read it back, or the previous one where it is damaged; None where there is no run yet.

        Raises:
            DamagedRunError: Neither can be used.
            UsageError: Another version of this package wrote it.
        """
        # Before the manifests: of a run that goes on, these take in what stood in the journals.
        later, earlier = (
            journal.entries(_journal_of(directory / name)) for name in (MANIFEST, PREVIOUS)
        )
        damage: DamagedRunError | None = None
        for name in (MANIFEST, PREVIOUS):
            try:
                manifest = cls._read_file(directory / name)
            except DamagedRunError as error:
                damage = damage or error
                continue
            if manifest is not None:
                if damage is not None:
                    logger.warning("%s; %s is used instead", damage, PREVIOUS)
                manifest.take_in(*((later,) if name == MANIFEST else (earlier, later)))
                return manifest
        if damage is not None:
            raise damage
        return None

    @classmethod
    def _read_file(cls, path: Path) -> Manifest | None:
        try:
            body = journal.opened(path.read_bytes())
        except FileNotFoundError:
            return None
        except DamagedRunError as error:
            raise DamagedRunError(f"{path}: {error}") from error
        try:
            manifest = cls.model_validate(body)
        except ValidationError as error:
            raise UsageError(
                f"{path}: written by another version of clear-pipeline ({_first_line(error)}); "
                "use that version, or give another --out: with llm-cache.sqlite of this directory "
                "copied into it, no answer is asked for twice"
            ) from error
        manifest._written = journal.digest(body)  # noqa: SLF001
        return manifest


def set_damaged_aside(directory: Path) -> list[str]:
    """Rename manifests that are damaged, so that a run goes on from the previous one, or anew.

    Only for the process that holds the run.

    Returns:
        A line for each that was renamed, and what follows from it.
    """
    told = []
    for name in (MANIFEST, PREVIOUS):
        path = directory / name
        try:
            Manifest._read_file(path)  # noqa: SLF001
        except DamagedRunError as error:
            path.replace(path.with_name(name + DAMAGED))
            told.append(f"{error}; set aside as {name}{DAMAGED}")
    if told:
        rest = (directory / PREVIOUS).exists() or (directory / MANIFEST).exists()
        told[-1] += (
            "; going on from the manifest before it"
            if rest
            else "; everything is computed anew, answers come from the cache"
        )
    return told


def _journal_of(path: Path) -> Path:
    return path.with_name(path.name + _JOURNAL)


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]


def fingerprint(*parts: JSON) -> str:
    """32 hex digits that differ whenever any part differs."""
    return hashlib.sha256(canonical_json(list(parts)).encode()).hexdigest()[:32]
