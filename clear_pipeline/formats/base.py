"""What a format is made of: a layout that finds turns in a record and puts them into one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, Self, TypeAlias

from clear_pipeline.errors import ClearPipelineError
from clear_pipeline.schema import JSON, Message

Record: TypeAlias = Mapping[str, JSON]
"""One source row: column name to JSON value."""

ID_COLUMNS = ("id", "_id", "uid", "uuid", "row_id", "example_id")
"""Where a source keeps its own row id; the first column that is there counts."""


class RowError(ClearPipelineError):
    """One row cannot be read, or cannot be written in a format; the message is the reason."""


@dataclass(frozen=True, slots=True)
class Parsed:
    """What a row says, whatever its layout. Fields as in `schema.Example`."""

    messages: tuple[Message, ...]
    target: Message
    tools: str | None = None
    unscorable: str | None = None
    source_id: str | None = None


class Layout(Protocol):
    """How one format lays a conversation out in columns.

    Adding a format is one module with a layout and one line in `registry`.
    """

    @property
    def name(self) -> str:
        """The format's name on the command line."""
        ...

    @property
    def fields(self) -> frozenset[str]:
        """The names that a column map may give to columns of this format."""
        ...

    @property
    def reserved(self) -> frozenset[str]:
        """Every column that `read` could take for its own."""
        ...

    def mapped(self, columns: Mapping[str, str]) -> Self:
        """The same layout with the given columns (by field) in place of its usual ones."""
        ...

    def matches(self, record: Record) -> bool:
        """Whether the record's columns are those of this format; its values may still be wrong."""
        ...

    def used(self, record: Record) -> frozenset[str]:
        """The columns that `read` takes from a readable record; the others are carried along."""
        ...

    def decoded(self, record: Record) -> dict[str, JSON]:
        """A readable record with values where its source, such as a CSV file, holds JSON text.

        Its columns keep their names and order; one that says nothing is left out.
        """
        ...

    def read(self, record: Record) -> Parsed:
        """Understand a record.

        Raises:
            RowError: It has no usable prompt or target; the message says what was found.
        """
        ...

    def compose(self, parsed: Parsed) -> dict[str, JSON]:
        """Lay a conversation out in this format's first-choice columns.

        Raises:
            RowError: The format has no place for a part of it.
        """
        ...

    def with_target(self, record: Record, target: Message) -> dict[str, JSON]:
        """A copy of a readable record with another target and nothing else changed.

        Raises:
            RowError: The format has no place for such a target.
        """
        ...


_KINDS = ((bool, "true/false"), ((int, float), "a number"), (str, "text"), (Mapping, "an object"))


def kind(value: JSON) -> str:
    """The value's type in the words of an error message."""
    if value is None:
        return "null"
    return next((name for types, name in _KINDS if isinstance(value, types)), "a list")


def shown(names: Sequence[str]) -> str:
    """Column names for an error message: at most eight, each cut at 40 characters."""
    listed = ", ".join(name[:40] for name in names[:8])
    return f"{listed}, ..." if len(names) > 8 else listed or "no keys"  # noqa: PLR2004


def missing(record: Record, name: str) -> RowError:
    """The error for a row without a column that it needs."""
    return RowError(f"missing key {name!r} (found {shown(list(record))})")


def text(record: Record, name: str) -> str:
    """The text in a column; "" for null or an absent column.

    Raises:
        RowError: It is no text.
    """
    value = record.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise RowError(f"key {name!r} is {kind(value)}, expected text")
    return value


def source_id(record: Record, names: Sequence[str]) -> str | None:
    """The source's own id of a row: text or a whole number, else None."""
    for name in names:
        value = record.get(name)
        if isinstance(value, str | int) and not isinstance(value, bool) and value != "":
            return str(value)
    return None


def conversation(
    messages: Sequence[Message],
    *,
    tools: str | None = None,
    unscorable: str | None = None,
    source_id: str | None = None,
) -> Parsed:
    """Cut a conversation into what was asked and its last turn, the target.

    Raises:
        RowError: It does not end with an assistant turn that says something, or nothing is asked.
    """
    if not any(m.role == "assistant" for m in messages):
        raise RowError("no assistant turn")
    *before, target = messages
    if target.role != "assistant":
        raise RowError(f"the last turn is {target.role}'s; it must be assistant's")
    if not target.text.strip():
        raise RowError("empty target")
    if not any(m.text.strip() for m in before):
        raise RowError("empty prompt")
    return Parsed(tuple(before), target, tools, unscorable, source_id)
