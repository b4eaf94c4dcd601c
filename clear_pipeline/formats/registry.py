"""All formats by name. One entry both reads and writes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from clear_pipeline.errors import ConfigError
from clear_pipeline.formats.alpaca import ALPACA
from clear_pipeline.formats.base import ID_COLUMNS, Layout, Parsed, Record, RowError
from clear_pipeline.formats.chat import CHAT
from clear_pipeline.formats.prompt_completion import PROMPT_COMPLETION
from clear_pipeline.formats.sharegpt import SHAREGPT
from clear_pipeline.schema import JSON, Example, Message, canonical_json

_LAYOUTS: tuple[Layout, ...] = (CHAT, SHAREGPT, ALPACA, PROMPT_COMPLETION)
"""In order of detection: a row that suits several formats is of the first."""

CARRIED_PREFIX = "source_"
"""Put before a carried column whose name the written format has another use for."""


@dataclass(frozen=True)
class Format:
    """One way to lay training rows out in columns.

    Attributes:
        key: What `Example.format` holds: the name, followed by the column map as canonical JSON
            if there is one, so that a row can be written back without asking how it was read.
        layout: Where things stand in a row.
        columns: Those that its column map names.
    """

    key: str
    layout: Layout
    columns: frozenset[str] = frozenset()

    @property
    def name(self) -> str:
        """The name on the command line, without a column map."""
        return self.layout.name

    @property
    def fields(self) -> frozenset[str]:
        """What a column map may name."""
        return self.layout.fields

    def mapped(self, columns: Mapping[str, str]) -> Format:
        """The format with a column map, by field: `{"prompt": "question"}`.

        Raises:
            ConfigError: A field that this format does not have.
        """
        unknown = sorted(set(columns) - self.fields)
        if unknown:
            raise ConfigError(
                f"map: {self.name} has no {unknown[0]!r}; it has {', '.join(sorted(self.fields))}"
            )
        if not columns:
            return self
        key, layout = self.name + canonical_json(columns), self.layout.mapped(columns)
        return Format(key, layout, frozenset(columns.values()))

    def matches(self, record: Record) -> bool:
        """Whether the record has the columns of this format; its values may still be wrong."""
        return self.layout.matches(record)

    def read(self, record: Record) -> Parsed:
        """Understand a source row.

        Raises:
            RowError: It cannot be used; the message says why and what was found.
        """
        return self.layout.read(record)

    def write(self, example: Example, *, own_columns: bool = True) -> dict[str, JSON]:
        """A row of this format for an example, whose target may have been replaced.

        A row of the same format comes back as it was, but for a new target, and for values that
        its source could hold as JSON text only, such as the turns in a CSV file; with
        `own_columns` False only if its columns are named as this format names them. A row of
        another format gets this format's columns, followed by the columns of the source that its
        format does not use; one of those whose name this format uses is written as
        `source_<name>`.
        What was written is read back: a row is never changed in silence.

        Raises:
            RowError: This format cannot express the example.
        """
        source = FORMATS[example.format]
        original = source.layout.decoded(json.loads(example.original))
        wanted = Parsed(example.messages, example.target, example.tools, example.unscorable)
        own = own_columns or self._stands_in(original, wanted, source)
        if source.name == self.name and own:
            if source.read(original).target == example.target:
                return original
            row = source.layout.with_target(original, example.target)
            written = source.read(row)
        else:
            row = self.layout.compose(wanted) | self._carried(original, source)
            written = self.read(row)
        if _meaning(written) != _meaning(wanted):
            raise RowError(f"{self.name} cannot express this {source.name} row")
        return row

    def _stands_in(self, original: Record, row: Parsed, source: Format) -> bool:
        """Whether a row stands in the columns that this format would write, and finds it there."""
        used = source.layout.used(original)
        if not used <= {*self.layout.compose(row), *ID_COLUMNS}:
            return False
        try:
            return self.layout.used(original) == used
        except RowError:  # without the column map that it was read with, several columns fit
            return False

    def _carried(self, original: Record, source: Format) -> dict[str, JSON]:
        used = source.layout.used(original)
        unused = {name: value for name, value in original.items() if name not in used}
        carried: dict[str, JSON] = {}
        for name, value in unused.items():
            free = name
            while free in self.layout.reserved or (free != name and free in unused):
                free = CARRIED_PREFIX + free
            carried[free] = value
        return carried


def _meaning(parsed: Parsed) -> Parsed:
    """A row up to what formats may differ in without changing what it teaches.

    Tool calls are numbered, for an id is only a link; their arguments lose white space; weight 1
    is the default.
    """
    numbers: dict[str, str] = {}
    *messages, target = (_plain(m, numbers) for m in (*parsed.messages, parsed.target))
    return replace(parsed, messages=tuple(messages), target=target, source_id=None)


def _plain(message: Message, numbers: dict[str, str]) -> Message:
    calls = json.loads(message.tool_calls) if message.tool_calls else []
    for call in calls:
        if "id" in call:
            call["id"] = numbers.setdefault(call["id"], f"call_{len(numbers) + 1}")
        function = call.get("function", {})
        if isinstance(arguments := function.get("arguments"), str):
            function["arguments"] = _compact(arguments)
    return replace(
        message,
        content=message.content or "",
        tool_calls=canonical_json(calls) if calls else None,
        tool_call_id=numbers.get(message.tool_call_id or "", message.tool_call_id),
        weight=None if message.weight == 1 else message.weight,
    )


def _compact(arguments: str) -> str:
    try:
        return canonical_json(json.loads(arguments))
    except (ValueError, RecursionError):
        return arguments


class _Formats(Mapping[str, Format]):
    """Formats by `Format.key`; iterates over those without a column map."""

    @cached_property
    def _plain(self) -> dict[str, Format]:
        return {layout.name: Format(layout.name, layout) for layout in _LAYOUTS}

    def __getitem__(self, key: str) -> Format:
        name, brace, columns = key.partition("{")
        if name not in self._plain:
            raise KeyError(f"no format {name!r}; there are {', '.join(self._plain)}")
        return self._plain[name].mapped(json.loads(brace + columns)) if brace else self._plain[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._plain)

    def __len__(self) -> int:
        return len(self._plain)


FORMATS: Mapping[str, Format] = _Formats()
"""Every format by name: `openai`, `sharegpt`, `alpaca`, `prompt-completion`."""
