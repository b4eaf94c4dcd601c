"""Human or planted marks of rows, read from a file beside the run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

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
    """

    bad: Mapping[str, bool]
    left_out: int = 0
    unreadable: int = 0


def read_labels(
    path: str | Path,
    *,
    id_column: str = "id",
    label_column: str = "label",
    bad: str | None = None,
    where: Mapping[str, str] | None = None,
) -> Labels:
    """Read labels from a JSONL, JSON, CSV, Parquet or Arrow file, plain or compressed.

    Args:
        path: The file; further columns are ignored.
        id_column: Column of the rows' ids.
        label_column: Column of the labels. A null or empty label is none.
        bad: The label of bad rows, every other one being good. None: good/bad, 1/0 or
            true/false in any case, so 0 and false are bad.
        where: Only rows whose columns have these values.

    Raises:
        UsageError: The file cannot be read, no row of it has a label, a label is neither good
            nor bad, or two rows mark one id differently.
    """
    marks: dict[str, bool] = {}
    columns: dict[str, None] = {}
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
            raise UsageError(f"{place}: id {row_id!r} is marked good and bad")
    if not marks:
        asked = "".join(f", {column} = {value}" for column, value in (where or {}).items())
        raise UsageError(
            f"{path}: no row with {id_column}, {label_column}{asked}; {unreadable} rows "
            f"unreadable, the columns are {', '.join(columns) or 'none'} (--id, --column, --where)"
        )
    return Labels(marks, left_out, unreadable)


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
