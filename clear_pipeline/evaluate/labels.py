"""Human or planted marks of rows, read from a file beside the run."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Final, TypeVar

from clear_pipeline.errors import UsageError
from clear_pipeline.formats import FORMATS, Record
from clear_pipeline.load.detect import open_source
from clear_pipeline.load.events import FileError, Raw, UnknownColumnsError
from clear_pipeline.load.settings import LoadSettings

_Value = TypeVar("_Value")

_PAIRS = {"good": False, "bad": True, "1": False, "0": True, "true": False, "false": True}
"""Label -> is it bad, where no value for bad is given. As in good/bad, 1/0, true/false."""
_OPPOSITE = {"1": "0", "0": "1", "true": "false", "false": "true"}
"""Labels whose meaning hangs on what their column is called."""
_NAMES_BAD = re.compile("bad|wrong|error|incorrect|invalid|nois", re.IGNORECASE)
"""Column names that may mean that 1 and true are the bad rows."""
_WHOLE = re.compile(r"([+-]?\d+)\.0+")
"""A whole number as pandas writes it where the column has blanks."""
_WEIGHT: Final = "weight"
LISTED: Final = 1000
"""Ids that an error lists; the others are counted."""
_SHOWN: Final = 5
"""Lines, or labels, that a remark gives as examples."""


@dataclass(frozen=True, slots=True)
class Labels:
    """Marks by id.

    Attributes:
        bad: Per id, as it stands in the file, whether the row is bad.
        weights: Per id, how many rows the mark stands for; empty where the file says nothing.
        unlabelled: Lines of rows that have no id or no label.
        unreadable: Lines of rows that could not be parsed.
        excluded: How many rows the filter excludes.
    """

    bad: Mapping[str, bool]
    weights: Mapping[str, float] = field(default_factory=dict)
    unlabelled: tuple[int, ...] = ()
    unreadable: tuple[int, ...] = ()
    excluded: int = 0

    def remarks(self) -> list[str]:
        """Which rows of the file were of no use, for people. What a filter excludes is no news."""
        told = (
            (self.unreadable, "that cannot be read"),
            (self.unlabelled, "without an id or a label, left out"),
        )
        return [f"rows of the labels file {what}: {_counted(n)}" for n, what in told if n]

    def renamed(self, own: Mapping[str, str]) -> Labels:
        """The same by other ids.

        Args:
            own: The other id of each.

        Raises:
            UsageError: One of these is then marked good and bad, or has two weights.
        """
        return replace(
            self,
            bad=_joined(self.bad, own, "is marked good and bad"),
            weights=_joined(self.weights, own, "has two weights"),
        )


def _joined(
    values: Mapping[str, _Value], own: Mapping[str, str], conflict: str
) -> Mapping[str, _Value]:
    """The values by the other ids."""
    joined = {own[i]: value for i, value in values.items()}
    wrong = [f"id {own[i]!r} {conflict}" for i, value in values.items() if joined[own[i]] != value]
    if wrong:
        raise UsageError(f"{len(wrong)} marks contradict others:\n{listed(wrong)}")
    return joined


def _counted(lines: Sequence[int]) -> str:
    more = ", ..." if len(lines) > _SHOWN else ""
    return f"{len(lines):,} (line {', '.join(map(str, lines[:_SHOWN]))}{more})"


def listed(ids: Collection[str]) -> str:
    """One per line, the first 1,000 of them, then how many more; unprintable ones are quoted."""
    lines = [f"  {i if i.isprintable() else repr(i)}" for i in islice(ids, LISTED)]
    if len(ids) > LISTED:
        lines.append(f"  and {len(ids) - LISTED:,} more")
    return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class _Mark:
    """A labelled row of the file, as it is written there."""

    place: str
    row_id: str
    label: str
    weight: str


@dataclass(slots=True)
class _Read:
    """What stands in the file. Attributes as in `Labels`; `columns` are in order."""

    columns: dict[str, None] = field(default_factory=dict)
    marks: list[_Mark] = field(default_factory=list)
    unlabelled: list[int] = field(default_factory=list)
    unreadable: list[int] = field(default_factory=list)
    excluded: int = 0

    def add(self, raw: Raw, path: Path, names: Sequence[str], where: Mapping[str, str]) -> None:
        """Sort one row in; `names` are the columns of id, label and weight."""
        if raw.record is None:
            self.unreadable.append(raw.line)
            return
        self.columns |= dict.fromkeys(raw.record)
        row_id = _raw_text(raw.record, names[0])
        label, weight = (_text(raw.record, name) for name in names[1:])
        if any(_text(raw.record, name) != value for name, value in where.items()):
            self.excluded += 1
        elif row_id.strip() and label:
            self.marks.append(_Mark(f"{path}:{raw.line}", row_id, label, weight))
        else:
            self.unlabelled.append(raw.line)


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
            true/false in any case, so 0 and false are bad; the latter two only in a column
            whose name does not speak of bad rows.
        where: Only rows whose columns have these values.
        weight_column: Column of how many rows each mark stands for, which all marks must have.
            None: `weight`, if the file has it.

    Raises:
        UsageError: The file cannot be read, no row of it has a label, a label is neither good
            nor bad or could be either, no label is `bad`, rows mark or weigh one id differently,
            there is no such column of weights, or only some marks have a weight above 0.
    """
    path, wanted, found = Path(path), where or {}, _Read()
    for raw in _rows(path, id_column, label_column):
        found.add(raw, path, (id_column, label_column, weight_column or _WEIGHT), wanted)
    if found.columns and not {id_column, label_column} <= found.columns.keys():
        raise _other_columns(path, found.columns, id_column, label_column)
    if not found.marks:
        raise _no_marks(path, found, id_column, label_column, wanted)
    if weight_column is not None and weight_column not in found.columns:
        raise UsageError(
            f"{path}: no column {weight_column!r} of weights; found {', '.join(found.columns)} "
            "(--weight)"
        )
    return Labels(
        bad=_verdicts(path, found.marks, label_column, bad),
        weights=_weights(path, found.marks, weight_column),
        unlabelled=tuple(found.unlabelled),
        unreadable=tuple(found.unreadable),
        excluded=found.excluded,
    )


def _rows(path: Path, id_column: str, label_column: str) -> Iterator[Raw]:
    # A labels file is a dataset of pairs to the reader: of an id and a label.
    pairs = FORMATS["prompt-completion"].mapped({"prompt": id_column, "response": label_column})
    try:
        yield from open_source(path, LoadSettings(), [pairs]).rows
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    except UnknownColumnsError as error:
        raise _other_columns(path, error.columns, id_column, label_column) from error
    except FileError as error:
        raise UsageError(
            f"{path}: no labels ({error}); expected JSONL, JSON, CSV or Parquet with the columns "
            f"{id_column} and {label_column} (--id, --column)"
        ) from error


def _other_columns(
    path: Path, columns: Collection[str], id_column: str, label_column: str
) -> UsageError:
    return UsageError(
        f"{path}: a labels file needs a column {id_column!r} of row ids and a column "
        f"{label_column!r} of labels; found {', '.join(map(repr, columns))}. Where these are "
        "called otherwise, say so: --id COLUMN --column COLUMN"
    )


def _no_marks(
    path: Path, found: _Read, id_column: str, label_column: str, where: Mapping[str, str]
) -> UsageError:
    given = [f"a value in {id_column} and {label_column}"]
    given += [f"{column} = {value}" for column, value in where.items()]
    return UsageError(
        f"{path}: no row has {', '.join(given)}; of its rows {len(found.unlabelled)} lack an "
        f"id or a label, {len(found.unreadable)} cannot be read, {found.excluded} are excluded "
        "(--id, --column, --where)"
    )


def _text(record: Record, column: str) -> str:
    return _raw_text(record, column).strip()


def _raw_text(record: Record, column: str) -> str:
    """With the white space at its ends: an id may have some."""
    value = record.get(column)
    return "" if value is None else str(value)


def _plain(label: str) -> str:
    """A label as labels are compared: in lower case, a whole number without decimals."""
    whole = _WHOLE.fullmatch(label)
    return whole[1] if whole else label.casefold()


def _verdicts(
    path: Path, marks: Sequence[_Mark], column: str, bad: str | None
) -> Mapping[str, bool]:
    """Per id, whether it is bad."""
    if bad is None:
        known = ((mark, _is_bad(mark, column)) for mark in marks)
    else:
        labels = dict.fromkeys(_plain(mark.label) for mark in marks)
        if _plain(bad) not in labels:
            more = ", ..." if len(labels) > _SHOWN else ""
            raise UsageError(
                f"{path}: no label is {bad!r}, which is to mark the bad rows; there are "
                f"{', '.join(islice(labels, _SHOWN))}{more} (--bad, --column)"
            )
        known = ((mark, _plain(mark.label) == _plain(bad)) for mark in marks)
    return _one_each(known, lambda *_: "is marked good and bad")


def _is_bad(mark: _Mark, column: str) -> bool:
    label = _plain(mark.label)
    if label not in _PAIRS:
        raise UsageError(
            f"{mark.place}: label {mark.label!r}; expected good/bad, 1/0 or true/false, "
            "or name the label that bad rows have: --bad LABEL"
        )
    if label in _OPPOSITE and _NAMES_BAD.search(column):
        raise UsageError(
            f"{mark.place}: {column} is {mark.label!r}, which could mean good or bad: name the "
            f"label that bad rows have, --bad {label} or --bad {_OPPOSITE[label]}"
        )
    return _PAIRS[label]


def _weights(path: Path, marks: Sequence[_Mark], asked: str | None) -> Mapping[str, float]:
    """Per id, its weight; of all marks or, unless weights are asked for, of none."""
    weights = _one_each(
        ((mark, _weight(mark)) for mark in marks if mark.weight),
        lambda first, second: f"has the weights {first:g} and {second:g}",
    )
    without = dict.fromkeys(mark.row_id for mark in marks if mark.row_id not in weights)
    if without and (weights or asked is not None):
        raise UsageError(
            f"{path}: {len(without)} marks have no {asked or _WEIGHT}, such as "
            f"{next(iter(without))!r}; give all of them one, or none"
        )
    return weights


def _weight(mark: _Mark) -> float:
    try:
        value = float(mark.weight)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise UsageError(f"{mark.place}: weight {mark.weight!r}; expected a number above 0")
    return value


def _one_each(
    told: Iterable[tuple[_Mark, _Value]], conflict: Callable[[_Value, _Value], str]
) -> Mapping[str, _Value]:
    """The one value of each id; those that have two are an error."""
    values: dict[str, _Value] = {}
    conflicts: list[str] = []
    for mark, value in told:
        first = values.setdefault(mark.row_id, value)
        if first != value:
            conflicts.append(f"{mark.place}: id {mark.row_id!r} {conflict(first, value)}")
    if conflicts:
        raise UsageError(f"{len(conflicts)} marks contradict others:\n{listed(conflicts)}")
    return values
