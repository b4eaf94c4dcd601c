"""The one row schema, its Python view, and the fates a row can have.

Rows travel as Arrow tables of schema `ROWS`. `Example` is one row for code that looks at single
rows (formats, prompts); `rows_table` is the only place that turns examples into Arrow.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, TypeAlias

import pyarrow as pa

LONE_SURROGATE: Final = re.compile("[\ud800-\udfff]")
"""Half of a UTF-16 pair: no character, and no file of UTF-8 can hold it."""

JSON: TypeAlias = "bool | int | float | str | Sequence[JSON] | Mapping[str, JSON] | None"

MESSAGE = pa.struct(
    [
        pa.field("role", pa.string(), nullable=False),
        pa.field("content", pa.large_string()),
        pa.field("name", pa.string()),
        pa.field("tool_calls", pa.large_string()),
        pa.field("tool_call_id", pa.string()),
        pa.field("weight", pa.float64()),
    ]
)
"""One turn. `tool_calls` is canonical JSON: Arrow structs would null-fill and drop keys."""

ROWS = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("source_id", pa.string()),
        pa.field("file", pa.string(), nullable=False),
        pa.field("line", pa.int64(), nullable=False),
        pa.field("format", pa.string(), nullable=False),
        pa.field("messages", pa.list_(MESSAGE), nullable=False),
        pa.field("target", MESSAGE, nullable=False),
        pa.field("response", pa.large_string(), nullable=False),
        pa.field("tools", pa.large_string()),
        pa.field("unscorable", pa.string()),
        pa.field("content_hash", pa.string(), nullable=False),
        pa.field("original", pa.large_string(), nullable=False),
    ]
)
"""Rows of every stage. `id` = path relative to DATA + ":" + line; `messages` = all turns before
the target; `response` = the target's text, or its tool calls as JSON; `original` = source row as
JSON; `unscorable` = why a model cannot be asked about this row (`image`), else null."""


_WORKING = {b"clear_pipeline": b"working"}


def working(field: pa.Field) -> pa.Field:
    """A column that stages hand on to later ones and nobody reads: the ledger leaves it out."""
    return field.with_metadata(_WORKING)


def is_working(field: pa.Field) -> bool:
    """Whether a column was declared `working`; files of a run keep that."""
    return _WORKING.items() <= (field.metadata or {}).items()


class Role(StrEnum):
    """Who speaks. The names are OpenAI's; formats translate theirs at the edge."""

    SYSTEM = "system"
    DEVELOPER = "developer"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


class Fate(StrEnum):
    """What became of an input row. Declared in order of precedence, strongest first."""

    QUARANTINED = "quarantined"
    CONTAMINATED = "contaminated"
    DUPLICATE = "duplicate"
    UNSCORED = "unscored"
    RECTIFIED = "rectified"
    FILTERED = "filtered"
    KEPT = "kept"


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation. `tool_calls` is canonical JSON text, see `canonical_json`.

    `content` is plain text, or canonical JSON of OpenAI's content parts when the source has parts
    that are not text (then the row is `unscorable`).
    """

    role: str
    content: str | None = None
    name: str | None = None
    tool_calls: str | None = None
    tool_call_id: str | None = None
    weight: float | None = None

    @property
    def text(self) -> str:
        """What the speaker says: content and, after a newline, the tool calls as JSON."""
        return "\n".join(part for part in (self.content, self.tool_calls) if part)


@dataclass(frozen=True, slots=True)
class Example:
    """One usable row: what was asked, and the response that the dataset gives."""

    id: str
    file: str
    line: int
    format: str
    messages: tuple[Message, ...]
    target: Message
    original: str
    source_id: str | None = None
    tools: str | None = None
    unscorable: str | None = None

    @property
    def response(self) -> str:
        """The target's text; never empty."""
        return self.target.text


def canonical_json(value: JSON) -> str:
    """Serialise with sorted keys and no spaces, so that equal values give equal text."""
    return _CANONICAL.encode(value)


_CANONICAL: Final = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def normalise(text: str) -> str:
    """Unicode NFC, every run of white space one space, ends stripped. Case is kept."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def content_hash(messages: Iterable[Message], target: Message, tools: str | None) -> str:
    """Hash of what a row teaches: equal for rows that differ in white space or metadata only.

    Returns:
        32 hex digits of SHA-256 over the normalised turns, target and tools.
    """
    turns = [[m.role, normalise(m.content or ""), m.tool_calls] for m in (*messages, target)]
    payload = canonical_json([turns, tools])
    return hashlib.sha256(payload.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _message_dict(message: Message) -> dict[str, Any]:
    return {name: getattr(message, name) for name in Message.__slots__}


def rows_table(examples: Iterable[Example]) -> pa.Table:
    """Cast examples to `ROWS`, in order. The only place where rows become Arrow."""
    columns: dict[str, list[Any]] = {name: [] for name in ROWS.names}
    for example in examples:
        for name in ("id", "source_id", "file", "line", "format", "tools", "unscorable"):
            columns[name].append(getattr(example, name))
        columns["messages"].append([_message_dict(m) for m in example.messages])
        columns["target"].append(_message_dict(example.target))
        columns["response"].append(example.response)
        columns["content_hash"].append(
            content_hash(example.messages, example.target, example.tools)
        )
        columns["original"].append(example.original)
    return pa.table(columns, schema=ROWS)


def examples(table: pa.Table) -> list[Example]:
    """Read rows back as examples, in order. Columns beyond `ROWS` are ignored."""
    return [
        Example(
            id=row["id"],
            file=row["file"],
            line=row["line"],
            format=row["format"],
            messages=tuple(Message(**m) for m in row["messages"]),
            target=Message(**row["target"]),
            original=row["original"],
            source_id=row["source_id"],
            tools=row["tools"],
            unscorable=row["unscorable"],
        )
        for row in table.select([n for n in ROWS.names if n != "response"]).to_pylist()
    ]
