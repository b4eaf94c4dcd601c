"""Training files from annotated rows: the only step that leaves rows out.

Nothing is lost: a row that is not in the training files stands in `removed.jsonl` with its fate and
reason, and the text that a rectified row had before stands in `rectified.jsonl`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeAlias, get_args

import pyarrow as pa
from pydantic import Field, field_validator

from clear_pipeline.errors import NoSurvivorsError, UsageError
from clear_pipeline.formats import FORMATS, RowError
from clear_pipeline.ledger import fates
from clear_pipeline.row_files import JsonLines, Parquet
from clear_pipeline.schema import Example, Fate, Message, examples
from clear_pipeline.settings import Settings
from clear_pipeline.stages.confidence import final_confidence
from clear_pipeline.target import Directory, Target, staging

Split: TypeAlias = Literal["train", "valid"]

PARQUET: Final = "parquet"
EXPORT_FORMATS: Final = (*FORMATS, PARQUET)
REMOVED: Final = "removed.jsonl"
RECTIFIED: Final = "rectified.jsonl"
_TRAINING_FILES: Final = tuple(
    f"{split}{kind.suffix}" for split in get_args(Split) for kind in (JsonLines, Parquet)
)


class ExportSettings(Settings):
    """What the training files look like. Changes no fate."""

    format: str = "openai"
    """openai, sharegpt, alpaca, prompt-completion or parquet."""
    valid_fraction: Annotated[float, Field(ge=0, lt=1)] = 0.05
    """Expected share of rows in the validation file; 0 = no such file."""
    seed: int = 0
    """Another seed, another split."""
    on_unscored: Literal["drop", "keep"] = "drop"
    """Whether rows that could not be scored are exported."""
    extra_columns: Literal["keep", "drop"] = "keep"
    """Source columns that the format does not use. Fine-tuning services may refuse them: drop."""

    @field_validator("format")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in EXPORT_FORMATS:
            raise ValueError(f"no format {name!r}; there are {', '.join(EXPORT_FORMATS)}")
        return name


@dataclass(slots=True)
class ExportResult:
    """Rows per file.

    Attributes:
        format: As in the settings.
        train: Rows to train on.
        valid: Rows held out.
        rectified: Rows among these two with a new target.
        removed: Rows in neither, quarantined ones included.
        inexpressible: Rows among the removed that only the format has no place for.
    """

    format: str
    train: int = 0
    valid: int = 0
    rectified: int = 0
    removed: int = 0
    inexpressible: int = 0


def export(
    tables: Iterable[pa.Table],
    quarantine: Iterable[Mapping[str, Any]],
    out: Path | Target,
    settings: ExportSettings,
    *,
    own_columns: bool = True,
    own_directory: bool = False,
) -> ExportResult:
    """Write `train`, `valid`, `removed.jsonl` and `rectified.jsonl` into a directory.

    Each file appears complete or not at all; equal input gives equal bytes. Training files that an
    earlier export left there under other names are deleted.

    Args:
        tables: Row shards with all stage columns, in input order.
        quarantine: Entries of `quarantine.jsonl`.
        out: The directory, created if needed, or a place elsewhere.
        settings: See `ExportSettings`.
        own_columns: Whether rows that have the wanted format already keep the names of their
            columns (`question` for `prompt`). False for rows of several files, so that what
            the format reads is called the same in all rows.
        own_directory: Whether nobody else's files can lie in `out`, as in a run directory.

    Raises:
        UsageError: Training files lie there that no export wrote.
        NoSurvivorsError: No row can be exported; nothing was written.
        UnwritableError: The disk is full, or the directory may not be written.
        RemoteError: A place elsewhere cannot be written.
    """
    target = Directory(out) if isinstance(out, Path) else out
    if not own_directory:
        _refuse_foreign_files(target)
    with staging(target) as staged:
        with ExitStack() as stack:
            files = _Files(staged, settings, stack, own_columns=own_columns)
            for row in _rows(tables):
                files.add(row)
            for entry in quarantine:
                files.add_quarantined(entry)
        if files.result.train + files.result.valid == 0:
            raise NoSurvivorsError(_nothing_exported(files.result))
        _publish(staged, target)
    return files.result


def is_exported(table: pa.Table, settings: ExportSettings, *, own_columns: bool) -> list[bool]:
    """Whether `export` writes each row of a shard to a training file; arguments as there."""

    def expressible(row: _Row) -> bool:
        try:
            _laid_out(row, settings, own_columns=own_columns)
        except RowError:
            return False
        return True

    return [_survives(row, settings) and expressible(row) for row in _rows([table])]


def move_export(staged: Path, out: Path) -> None:
    """Move what `export` wrote into one directory to another, under its rules for that.

    Raises:
        UsageError: Training files lie there that no export wrote.
        UnwritableError: The disk is full, or the directory may not be written.
    """
    target = Directory(out)
    _refuse_foreign_files(target)
    _publish(staged, target)


def split_of(group: str, settings: ExportSettings) -> Split:
    """The file of a row, from the seed and its group alone: other rows cannot move it."""
    digest = hashlib.sha256(f"{settings.seed}:{group}".encode()).digest()
    share = int.from_bytes(digest[:8], "big") / 2**64
    return "valid" if share < settings.valid_fraction else "train"


@dataclass(frozen=True, slots=True)
class _Row:
    """One row on its way out; `example` has the new target, if there is one."""

    example: Example
    before: Message
    fate: Fate
    reason: str
    confidence: float | None
    group: str


def _rows(tables: Iterable[pa.Table]) -> Iterator[_Row]:
    for table in tables:
        optional = {
            name: table[name].to_pylist() if name in table.column_names else [None] * table.num_rows
            for name in ("new_target", "cluster")
        }
        confidences = final_confidence(table).to_pylist()
        hashes = table["content_hash"].to_pylist()
        for index, (example, fate, reason) in enumerate(
            zip(examples(table), *fates(table), strict=True)
        ):
            new = optional["new_target"][index] if fate is Fate.RECTIFIED else None
            yield _Row(
                example=example if new is None else replace(example, target=Message(**new)),
                before=example.target,
                fate=fate,
                reason=reason,
                confidence=confidences[index],
                group=optional["cluster"][index] or hashes[index],
            )


class _Files:
    """The files of one export, open for writing until `stack` closes."""

    def __init__(
        self, folder: Path, settings: ExportSettings, stack: ExitStack, *, own_columns: bool
    ) -> None:
        self._settings = settings
        self._own_columns = own_columns
        self.result = ExportResult(settings.format)
        parquet = settings.format == PARQUET
        kind: type[JsonLines | Parquet] = Parquet if parquet else JsonLines
        names: tuple[Split, ...] = ("train", "valid") if settings.valid_fraction else ("train",)
        self._splits: dict[Split, JsonLines | Parquet] = {
            name: stack.enter_context(closing(kind(folder / f"{name}{kind.suffix}")))
            for name in names
        }
        self._removed = stack.enter_context(closing(JsonLines(folder / REMOVED)))
        self._rectified = stack.enter_context(closing(JsonLines(folder / RECTIFIED)))

    def add(self, row: _Row) -> None:
        """Write a row where it belongs."""
        if not _survives(row, self._settings):
            self._remove(row, row.reason)
            return
        try:
            written = _laid_out(row, self._settings, own_columns=self._own_columns)
        except RowError as error:
            self._remove(row, f"not expressible as {self._settings.format}: {error}")
            self.result.inexpressible += 1
            return
        split = split_of(row.group, self._settings)
        self._splits[split].write(written)
        if split == "train":
            self.result.train += 1
        else:
            self.result.valid += 1
        if row.fate is Fate.RECTIFIED:
            self.result.rectified += 1
            changed = {"split": split, "before": row.before.text, "after": row.example.response}
            self._rectified.write(_line(row, row.reason) | changed)

    def add_quarantined(self, entry: Mapping[str, Any]) -> None:
        """List a row that could not be read, with its raw text as far as it was kept."""
        place = {name: entry.get(name) for name in ("id", "file", "line")}
        reason = f"quarantined: {entry['reason']}"
        told = {"fate": Fate.QUARANTINED, "reason": reason, "text": entry.get("text")}
        self._removed.write(place | told)
        self.result.removed += 1

    def _remove(self, row: _Row, reason: str) -> None:
        self._removed.write(_line(row, reason) | {"original": json.loads(row.example.original)})
        self.result.removed += 1


def _survives(row: _Row, settings: ExportSettings) -> bool:
    """Whether a row is exported by its fate."""
    if row.fate is Fate.UNSCORED:
        return settings.on_unscored == "keep"
    return row.fate in (Fate.KEPT, Fate.RECTIFIED)


def _laid_out(row: _Row, settings: ExportSettings, *, own_columns: bool) -> Mapping[str, Any]:
    """A row as it stands in a training file.

    Raises:
        RowError: The format cannot express it.
    """
    drop = settings.extra_columns == "drop"
    if settings.format == PARQUET:
        return _parquet_row(row, original=None if drop else row.example.original)
    wanted, source = FORMATS[settings.format], FORMATS[row.example.format]
    written = wanted.write(row.example, own_columns=own_columns)
    if not drop:
        return written
    layout = source.layout if own_columns and source.name == wanted.name else wanted.layout
    used = layout.used(written)
    return {name: value for name, value in written.items() if name in used}


def _line(row: _Row, reason: str) -> dict[str, Any]:
    place = {"id": row.example.id, "file": row.example.file, "line": row.example.line}
    return place | {"fate": row.fate, "reason": reason}


def _parquet_row(row: _Row, *, original: str | None) -> dict[str, Any]:
    turns = (*row.example.messages, row.example.target)
    return {
        "id": row.example.id,
        "messages": [asdict(turn) for turn in turns],
        "tools": row.example.tools,
        "confidence": row.confidence,
        "original": original,
    }


def _refuse_foreign_files(target: Target) -> None:
    """An export marks its directory by `removed.jsonl`; other people's data is not replaced."""
    if target.holds(REMOVED):
        return
    for name in _TRAINING_FILES:
        if target.holds(name):
            raise UsageError(
                f"{target.shown(name)}: no export wrote this file; give an empty or new --out"
            )


def _publish(staged: Path, target: Target) -> None:
    written = sorted(path.name for path in staged.iterdir())
    for name in written:
        target.take(staged / name)
    for name in _TRAINING_FILES:
        if name not in written:
            target.drop(name)


def _nothing_exported(result: ExportResult) -> str:
    if result.inexpressible:
        return (
            f"export: none of the {result.inexpressible} rows that were kept can be written as "
            f"{result.format}; choose another format, openai holds every conversation"
        )
    return (
        f"export: none of {result.removed} rows was kept; see the reasons in the ledger "
        "(clear-pipeline rows RUN)"
    )
