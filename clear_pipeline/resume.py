"""Deciding what a run must compute: fingerprints, and why a stage runs again.

A part is valid as long as its fingerprint holds: a hash of the bytes that it was computed from, the
stage's kind, version and settings, the models' identities and the state that the shard sees.
Budget, concurrency, engine and paths are outside every fingerprint.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from clear_pipeline.engine.base import ShardTask
from clear_pipeline.errors import ROW_KINDS, TRANSIENT_KINDS
from clear_pipeline.manifest import Manifest, Part, StageRecord, fingerprint
from clear_pipeline.schema import JSON
from clear_pipeline.stages.base import Settings, Stage
from clear_pipeline.store import ROWS_FOLDER, Store

_CALL_ERRORS: Final = (
    "embed_error",
    "score_error",
    "cascade_error",
    "second_error",
    "rectify_reason",
)
"""The columns that say of what kind a failed call was."""


def transient_failures(columns: pa.Table) -> int:
    """Rows whose call failed in a way that a later try may mend (see `errors.CallError`)."""
    return _failed(columns, TRANSIENT_KINDS)


def refused_rows(record: StageRecord, store: Store) -> int:
    """Rows in the parts of a stage that were refused for what they are (see `ROW_KINDS`)."""
    return sum(
        _failed(store.read(record.kind, key, part, _CALL_ERRORS), ROW_KINDS)
        for key, part in record.parts.items()
    )


def _failed(columns: pa.Table, kinds: Sequence[str]) -> int:
    """Rows whose call failed in one of these ways."""
    failed, pattern = 0, rf"(^|: )({'|'.join(kinds)}): "
    for name in _CALL_ERRORS:
        if name in columns.column_names:
            hits = pc.match_substring_regex(columns[name], pattern)
            failed += pc.sum(pc.fill_null(hits, fill_value=False)).as_py() or 0
    return failed


def settings_of(stage: Stage) -> dict[str, JSON]:
    """The settings that enter a stage's fingerprint, see `Settings.identity`."""
    if not isinstance(stage, Settings):
        raise TypeError(f"stage {stage!r} is no Settings model")
    return stage.identity()


@dataclass(frozen=True, slots=True)
class StageInputs:
    """What one stage sees: per shard the parts to join, and the records of the stages before it."""

    keys: tuple[str, ...]
    parts: Mapping[str, tuple[tuple[str, Part], ...]]
    records: Mapping[str, StageRecord]

    @classmethod
    def of(cls, manifest: Manifest, earlier: Sequence[str]) -> StageInputs:
        """Rows and the parts of the `earlier` stages, in chain order."""
        keys = tuple(manifest.shard_keys())
        records = {}
        folders: list[tuple[str, Mapping[str, Part]]] = [(ROWS_FOLDER, manifest.shards)]
        for kind in earlier:
            record = manifest.stage(kind)
            if record is None:
                raise LookupError(f"stage {kind!r} has not run")
            records[kind] = record
            folders.append((kind, record.parts))
        parts = {k: tuple((name, parts[k]) for name, parts in folders) for k in keys}
        return cls(keys, parts, records)

    @property
    def rows(self) -> int:
        """Rows in all shards."""
        return sum(self.parts[key][0][1].rows for key in self.keys)

    def input_fingerprint(self, key: str) -> str:
        """Hash of the bytes that this stage reads of a shard.

        Bytes, not settings: an earlier stage that ran again and came to the same columns moves
        nothing after it, and one whose failed rows were mended does.
        """
        return fingerprint([part.sha256 for _, part in self.parts[key]])

    def tasks(self, states: Sequence[JSON] | None) -> Iterator[ShardTask]:
        """One task per shard; a state is taken when its task is."""
        given = repeat(None, len(self.keys)) if states is None else states
        return (ShardTask(k, self.parts[k], s) for k, s in zip(self.keys, given, strict=True))


def whole_fingerprint(stage: Stage, models: Mapping[str, str], inputs: StageInputs) -> str:
    """Changes whenever any shard of the stage might; known before any shard is read."""
    seen: JSON = [[key, inputs.input_fingerprint(key)] for key in inputs.keys]
    return fingerprint(stage.name, stage.version, settings_of(stage), dict(models), seen)


def part_fingerprint(
    stage: Stage, models: Mapping[str, str], inputs: StageInputs, task: ShardTask
) -> str:
    """Changes whenever this shard's columns might."""
    return fingerprint(
        stage.name,
        stage.version,
        settings_of(stage),
        dict(models),
        inputs.input_fingerprint(task.key),
        fingerprint(task.state),
    )


def is_complete(record: StageRecord | None, whole: str, inputs: StageInputs, store: Store) -> bool:
    """Whether nothing of the stage has to be computed."""
    return (
        record is not None
        and record.fingerprint == whole
        and all(_usable(record, key, store) for key in inputs.keys)
    )


def is_done(
    stages: Sequence[Stage],
    identities: Callable[[Sequence[str]], Mapping[str, str]],
    loaded: Manifest,
    out: Path,
) -> bool:
    """Whether nothing of any stage has to be computed, so that a run would ask nothing.

    Args:
        stages: All, in order.
        identities: Of the models that serve some roles.
        loaded: Of the rows as they would be loaded now.
        out: The directory of the run.
    """
    manifest, earlier = Manifest.read(out), list[str]()
    if manifest is None or list(manifest.shards.items()) != list(loaded.shards.items()):
        return False
    for stage in stages:
        inputs = StageInputs.of(manifest, earlier)
        whole = whole_fingerprint(stage, identities(stage.roles()), inputs)
        if not is_complete(manifest.stage(stage.name), whole, inputs, Store(out)):
            return False
        earlier.append(stage.name)
    return True


def reusable(record: StageRecord | None, key: str, expected: str, store: Store) -> Part | None:
    """The part of an earlier run, if it is still what this run would compute."""
    if record is None or not _usable(record, key, store):
        return None
    part = record.parts[key]
    return part if part.fingerprint == expected else None


def _usable(record: StageRecord, key: str, store: Store) -> bool:
    part = record.parts.get(key)
    return part is not None and part.failed == 0 and store.intact(record.kind, key, part)


def damaged_parts(record: StageRecord, store: Store) -> int:
    """Files of a stage that are gone, or not as they were written."""
    return sum(not store.intact(record.kind, key, part) for key, part in record.parts.items())


def reason_to_rerun(
    record: StageRecord, stage: Stage, models: Mapping[str, str], store: Store
) -> str:
    """Why a stage that ran before runs again, in words."""
    settings = settings_of(stage)
    changed = [
        f"{name}: {_short(record.settings.get(name))} -> {_short(value)}"
        for name, value in settings.items()
        if record.settings.get(name) != value
    ]
    if changed:
        return "changed " + ", ".join(changed)
    if record.version != stage.version:
        return f"this version computes it anew (version {record.version} -> {stage.version})"
    if record.models != dict(models):
        return "another model"
    failed = sum(part.failed for part in record.parts.values())
    if failed:
        return f"{failed} rows failed for lack of an answer and are worked on again"
    if damaged := damaged_parts(record, store):
        return f"{damaged} of its files are missing or damaged and computed anew"
    return "its input changed or was not finished"


def work_left(stage: str, rows: int, total: int, chain: Sequence[str]) -> str:
    """What a run that stops inside a stage has not done, in words.

    Args:
        stage: Where it stops.
        rows: Rows that the stage is not through with.
        total: Rows of the run.
        chain: All stages, in order.
    """
    later = " and ".join(chain[chain.index(stage) + 1 :])
    then = f", then {later}" if later else ""
    return (
        f"Left to do: {stage} of {rows:,} of {total:,} rows{then}; what was answered is kept and "
        "is not asked again"
    )


def _short(value: object) -> str:
    return re.sub(r"[{}'\"]", "", str(value))[:60]
