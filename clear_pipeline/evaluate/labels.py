"""Human or planted marks of rows, read from a file beside the run."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pyarrow as pa

from clear_pipeline.errors import UsageError
from clear_pipeline.formats import FORMATS, Record
from clear_pipeline.load.detect import open_source
from clear_pipeline.load.events import FileError, Raw
from clear_pipeline.load.settings import LoadSettings

_PAIRS = {"good": False, "bad": True, "1": False, "0": True, "true": False, "false": True}
"""Label -> is it bad, where no value for bad is given. As in good/bad, 1/0, true/false."""


@dataclass(frozen=True, slots=True)
class Labels:
    """Marks by id.

    Attributes:
        bad: Per id, whether the row is bad.
        left_out: Rows of the file without a label, or that the filter excludes.
        unreadable: Rows of the file that could not be parsed.
        weights: Per id, how many rows the mark stands for; empty where the file says nothing.
    """

    bad: Mapping[str, bool]
    left_out: int = 0
    unreadable: int = 0
    weights: Mapping[str, float] = field(default_factory=dict)


Matched = Literal["source_id", "id"]


@dataclass(frozen=True, slots=True)
class Match:
    """Where the labels' ids stand in a run.

    Attributes:
        column: Which column of the ledger they are of.
        unknown: Ids that no row has.
        ambiguous: Ids that several rows have.
    """

    column: Matched
    unknown: tuple[str, ...]
    ambiguous: tuple[str, ...]


def match(ledger: pa.Table, labels: Labels) -> Match:
    """Whether the labels' ids are source ids or row ids: whichever matches more, else the former.

    Raises:
        UsageError: None is in the run.
    """
    counts: dict[Matched, Counter[str]] = {
        column: Counter(i for i in ledger[column].to_pylist() if i in labels.bad)
        for column in ("source_id", "id")
    }
    column: Matched = "id" if len(counts["id"]) > len(counts["source_id"]) else "source_id"
    found = counts[column]
    if not found:
        raise UsageError(
            f"none of the {len(labels.bad)} labelled ids is in the run: labels have "
            f"{next(iter(labels.bad))!r}, the run has source id "
            f"{_first(ledger['source_id'])!r} and row id {_first(ledger['id'])!r}; "
            "name the labels' id column: --id"
        )
    return Match(
        column,
        unknown=tuple(i for i in labels.bad if i not in found),
        ambiguous=tuple(i for i, count in found.items() if count > 1),
    )


def _first(column: pa.ChunkedArray) -> str | None:
    known = column.drop_null()
    return str(known[0]) if len(known) else None


def read_labels(
    path: str | Path,
    *,
    id_column: str = "id",
    label_column: str = "label",
    bad: str | None = None,
    where: Mapping[str, str] | None = None,
    weight_column: str | None = None,
) -> Labels:
    """Read labels from a JSONL, JSON, CSV, Parquet or Arrow file, plain or compressed.

    Args:
        path: The file; further columns are ignored.
        id_column: Column of the rows' ids.
        label_column: Column of the labels. A null or empty label is none.
        bad: The label of bad rows, every other one being good. None: good/bad, 1/0 or
            true/false in any case, so 0 and false are bad.
        where: Only rows whose columns have these values.
        weight_column: Column of how many rows each mark stands for, if the file has it.

    Raises:
        UsageError: The file cannot be read, no row of it has a label, a label is neither good
            nor bad, rows mark one id differently, or only some marks have a weight above 0.
    """
    marks: dict[str, bool] = {}
    columns: dict[str, None] = {}
    weights: dict[str, float] = {}
    conflicts: list[str] = []
    left_out = unreadable = 0
    for raw in _rows(Path(path), id_column, label_column):
        if raw.record is None:
            unreadable += 1
            continue
        columns |= dict.fromkeys(raw.record)
        row_id, label = (_text(raw.record, column) for column in (id_column, label_column))
        wanted = all(_text(raw.record, c) == value for c, value in (where or {}).items())
        if not (wanted and row_id and label):
            left_out += 1
            continue
        place = f"{path}:{raw.line}"
        is_bad = _is_bad(label, bad, place)
        if marks.setdefault(row_id, is_bad) != is_bad:
            conflicts.append(f"{place}: id {row_id!r} is marked good and bad")
        if weight_column is not None and (weight := _text(raw.record, weight_column)):
            weights[row_id] = _weight(weight, place)
    if conflicts:
        raise UsageError("\n".join(conflicts))
    found = Labels(marks, left_out, unreadable, weights)
    if not marks:
        asked = [id_column, label_column, *(f"{c} = {value}" for c, value in (where or {}).items())]
        raise UsageError(f"{path}: {_none_usable(found, asked, columns)}")
    if weights and (without := [i for i in marks if i not in weights]):
        raise UsageError(
            f"{path}: {len(without)} marks have no {weight_column}, such as {without[0]!r}; "
            "give all of them one, or none"
        )
    return found


def _none_usable(found: Labels, asked: Iterable[str], columns: Iterable[str]) -> str:
    return (
        f"no row with {', '.join(asked)}; {found.unreadable} rows unreadable, the columns are "
        f"{', '.join(columns) or 'none'} (--id, --column, --where)"
    )


def _weight(text: str, place: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise UsageError(f"{place}: weight {text!r}; expected a number above 0")
    return value


def _rows(path: Path, id_column: str, label_column: str) -> Iterator[Raw]:
    # A labels file is a dataset of pairs to the reader: of an id and a label.
    pairs = FORMATS["prompt-completion"].mapped({"prompt": id_column, "response": label_column})
    try:
        yield from open_source(path, LoadSettings(), [pairs]).rows
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    except FileError as error:
        raise UsageError(
            f"{path}: no labels: {error}; expected JSONL, JSON, CSV or Parquet with the columns "
            f"{id_column} and {label_column} (--id, --column)"
        ) from error


def _text(record: Record, column: str) -> str:
    value = record.get(column)
    return "" if value is None else str(value).strip()


def _is_bad(label: str, bad: str | None, place: str) -> bool:
    if bad is not None:
        return label.casefold() == bad.casefold()
    known = _PAIRS.get(label.casefold())
    if known is None:
        raise UsageError(
            f"{place}: label {label!r}; expected good/bad, 1/0 or true/false, "
            f"or name the label of bad rows: --bad {label}"
        )
    return known
