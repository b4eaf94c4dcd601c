"""Source rows to examples: the format is chosen, bad rows are set aside, shards are cut."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice

from clear_pipeline.formats import FORMATS, Format, RowError
from clear_pipeline.load.detect import detect_format, unknown_format
from clear_pipeline.load.events import (
    Event,
    FileError,
    FileFacts,
    LoadedShard,
    Problem,
    Quarantined,
    Raw,
    Skipped,
    Source,
)
from clear_pipeline.load.settings import LoadSettings
from clear_pipeline.schema import Example, rows_table

_LOOK_RECORDS, _LOOK_ROWS = 32, 1000
"""The format of a file is chosen from its first so many parsed rows, among so many rows."""
_SHARD_CHARS = 1 << 22
"""A shard is closed early at so much text, so that long rows do not fill the memory."""
_AS_IT_IS = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


def load_rows(
    name: str, source: Source, settings: LoadSettings, *, limit: int | None = None
) -> Iterator[Event]:
    """Everything that the rows of one source give, in order.

    Args:
        name: Of the source, as in row ids.
        source: The opened source.
        settings: Limits and formats.
        limit: At most so many rows, good and bad.
    """
    problems: list[str] = []
    rows = islice(_until_broken(source.rows, problems), limit)
    first = _look(rows, settings)
    records = [raw.record for raw in first if raw.record is not None]
    candidates = settings.candidates(name)
    format_ = detect_format(records, candidates)
    reason = ""
    if not first:
        reason = "; ".join(problems) or "no rows"
    elif records and format_ is None:
        reason = unknown_format(list(records[0]), candidates)
    elif not records and ".json" not in name:
        reason = "not a dataset: no line or item of it is a row"
    if reason:
        yield Skipped(name, reason)
        return
    yield FileFacts(source.container, format_.key if records and format_ else "")
    reader = _Reader(name, format_ or candidates[0], settings)
    yield from _sharded(map(reader.row, chain(first, rows)), settings)
    yield from (Problem(name, problem) for problem in problems)


def _until_broken(rows: Iterable[Raw], problems: list[str]) -> Iterator[Raw]:
    try:
        yield from rows
    except FileError as error:
        problems.append(str(error))


def _look(rows: Iterator[Raw], settings: LoadSettings) -> list[Raw]:
    first: list[Raw] = []
    records = 0
    for raw in islice(rows, _LOOK_ROWS):
        if raw.record is None and raw.text is not None:
            first.append(replace(raw, text=raw.text[: settings.quarantine_text_chars]))
        else:
            first.append(raw)
            records += 1
        if records == _LOOK_RECORDS:
            break
    return first


@dataclass(frozen=True, slots=True)
class _Reader:
    """Turns the rows of one file into examples."""

    file: str
    format: Format
    settings: LoadSettings

    def row(self, raw: Raw) -> Example | Quarantined:
        """The row as an example, or set aside with the reason."""
        if raw.record is None:
            return self._aside(raw, raw.reason, raw.text or "")
        original = _AS_IT_IS.encode(raw.record)
        try:
            self._check(raw, original)
            parsed = self.format.read(raw.record)
        except RowError as error:
            return self._aside(raw, str(error) + self._hint(raw), raw.text or original)
        return Example(
            id=f"{self.file}:{raw.line}",
            file=self.file,
            line=raw.line,
            format=self.format.key,
            messages=parsed.messages,
            target=parsed.target,
            original=original,
            source_id=parsed.source_id,
            tools=parsed.tools,
            unscorable=parsed.unscorable,
        )

    def _check(self, raw: Raw, original: str) -> None:
        """Refuse what no text of a row may hold, wherever in the row it stands."""
        if "\\u0000" in original and _NUL.search(original):
            raise RowError("NUL character")
        try:
            size = len(original.encode("utf-8"))
        except UnicodeEncodeError:
            raise RowError("lone surrogate: half of a UTF-16 pair, which is no character") from None
        if raw.text is None and size > self.settings.max_line_bytes:
            limit = self.settings.max_line_bytes
            raise RowError(f"longer than the limit of {limit} bytes (load.max_line_bytes)")

    def _hint(self, raw: Raw) -> str:
        if raw.record is None or self.format.matches(raw.record):
            return ""
        fitting = [f.name for f in FORMATS.values() if f.matches(raw.record)]
        return f"; try format: {fitting[0]}" if fitting else ""

    def _aside(self, raw: Raw, reason: str, text: str) -> Quarantined:
        cut = text[: self.settings.quarantine_text_chars]
        clean = cut.encode("utf-8", "backslashreplace").decode("utf-8")
        return Quarantined(f"{self.file}:{raw.line}", self.file, raw.line, reason, clean)


def _sharded(
    rows: Iterable[Example | Quarantined], settings: LoadSettings
) -> Iterator[LoadedShard | Quarantined]:
    batch: list[Example] = []
    chars = 0
    for row in rows:
        if isinstance(row, Quarantined):
            yield row
            continue
        batch.append(row)
        chars += len(row.original)
        if len(batch) == settings.shard_rows or chars > _SHARD_CHARS:
            yield _shard(batch)
            batch, chars = [], 0
    if batch:
        yield _shard(batch)


def _shard(batch: Sequence[Example]) -> LoadedShard:
    digest = hashlib.sha256()
    for example in batch:
        digest.update(repr(example).encode("utf-8"))
    return LoadedShard(digest.hexdigest()[:16], rows_table(batch))
