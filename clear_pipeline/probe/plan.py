"""What a probe will score: a sample of the rows, and their spoiled versions."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from clear_pipeline.corruptions import CORRUPTIONS, Corruption, Sample, plant
from clear_pipeline.errors import NothingReadableError
from clear_pipeline.load import (
    Data,
    LoadedShard,
    LoadSettings,
    Quarantined,
    Skipped,
    data_name,
    discover,
    nothing_readable,
)
from clear_pipeline.schema import Example, examples
from clear_pipeline.settings import Settings
from clear_pipeline.stages.base import Progress, SilentProgress

NEIGHBOURS: Final = 1000
"""Rows, if there are as many, from which other rows' responses and names are taken."""
_SHOWN: Final = 5


class ProbeSettings(Settings):
    """How much is planted, and what is known of the data."""

    rows: Annotated[int, Field(ge=1)] = 50
    """Rows of the sample."""
    per_corruption: Annotated[int, Field(ge=1)] = 20
    """Rows that each corruption is planted in, at most."""
    noise_rate: Annotated[float, Field(ge=0.0, lt=1.0)] | None = None
    """Share of the rows that are bad as they are; None = not known, nothing is corrected."""
    seed: int = 0
    """Of the sample, the corruptions and the bootstrap."""


@dataclass(frozen=True, slots=True)
class Planted:
    """One spoiled row."""

    example: Example
    original_id: str
    corruption: str


@dataclass(frozen=True, slots=True)
class Plan:
    """The rows of a probe.

    Attributes:
        dataset: Name of the data.
        rows_read: Readable rows of the data.
        usable: Those whose response is plain text; the sample is drawn from them.
        originals: The sample.
        planted: The spoiled rows, those of one original together.
    """

    dataset: str
    rows_read: int
    usable: int
    originals: tuple[Example, ...]
    planted: tuple[Planted, ...]

    @property
    def rows(self) -> int:
        """Rows to score with each preset."""
        return len(self.originals) + len(self.planted)


def make_plan(
    data: Data,
    load: LoadSettings,
    settings: ProbeSettings,
    *,
    progress: Progress | None = None,
) -> Plan:
    """Draw the sample and plant every corruption where it applies. No call is made.

    The sample depends on the seed and on what the rows say, not on their order or their files;
    equal rows count once. All of DATA is read, with bounded memory.

    Raises:
        NothingReadableError: DATA holds no usable row.
    """
    drawn = _Draw(settings.seed)
    read = _read(data, load, drawn, progress or SilentProgress())
    pool = drawn.smallest()
    if not pool:
        raise NothingReadableError(
            f"{_name(data)}: none of its {read} rows has a response of plain text to spoil"
        )
    originals = pool[: settings.rows]
    sample = Sample(pool)
    found = [
        Planted(spoiled, original_id, corruption.name)
        for corruption in CORRUPTIONS.values()
        for original_id, spoiled in _planted(corruption, originals, sample, settings)
    ]
    place = {row.id: number for number, row in enumerate(originals)}
    found.sort(key=lambda planted: place[planted.original_id])
    return Plan(_name(data), read, drawn.usable, tuple(originals), tuple(found))


def _planted(
    corruption: Corruption, originals: list[Example], sample: Sample, settings: ProbeSettings
) -> list[tuple[str, Example]]:
    found: list[tuple[str, Example]] = []
    for row in originals:
        if len(found) == settings.per_corruption:
            break
        spoiled = plant(corruption, row, sample, seed=settings.seed)
        if spoiled is not None:
            found.append((row.id, spoiled))
    return found


class _Draw:
    """Keeps the rows whose content hashes to the smallest values, `NEIGHBOURS` of them."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._kept: dict[str, Example] = {}
        self._limit = "~"  # above every hex digit
        self.usable = 0

    def add(self, table: pa.Table) -> None:
        plain = pc.and_(
            pc.is_null(table["unscorable"]),
            pc.is_null(pc.struct_field(table["target"], "tool_calls")),
        )
        table = table.filter(plain)
        self.usable += table.num_rows
        keys = [self._key(content) for content in table["content_hash"].to_pylist()]
        low = [n for n, key in enumerate(keys) if key < self._limit]
        for n, row in zip(low, examples(table.take(pa.array(low, pa.int64()))), strict=True):
            self._kept.setdefault(keys[n], row)
        if len(self._kept) > NEIGHBOURS:
            self._kept = dict(sorted(self._kept.items())[:NEIGHBOURS])
            self._limit = max(self._kept)

    def smallest(self) -> list[Example]:
        return [self._kept[key] for key in sorted(self._kept)]

    def _key(self, content: str) -> str:
        return hashlib.sha256(f"{self._seed}:{content}".encode()).hexdigest()


def _read(data: Data, load: LoadSettings, drawn: _Draw, progress: Progress) -> int:
    """Feed all readable rows to the draw; returns how many there were."""
    listing = discover(data)
    skipped = list(listing.skipped)
    bad: list[Quarantined] = []
    rows, remaining = 0, load.limit
    progress.start("read", 0)
    try:
        for source in listing.inputs:
            for event in source.load(load, limit=remaining):
                done = 0
                match event:
                    case LoadedShard():
                        drawn.add(event.table)
                        done = event.table.num_rows
                        rows += done
                    case Quarantined():
                        bad = [*bad, event][:_SHOWN]
                        done = 1
                    case Skipped():
                        skipped.append(event)
                progress.advance(done)
                remaining = None if remaining is None else remaining - done
            if remaining == 0:
                break
    finally:
        progress.finish()
    if rows == 0:
        raise nothing_readable(_name(data), skipped, bad)
    return rows


def _name(data: Data) -> str:
    return data_name(data) if isinstance(data, str | Path) else "memory"
