"""ShareGPT: `conversations` of `from` and `value`, with `system` and `tools` columns."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from clear_pipeline.formats.base import (
    ID_COLUMNS,
    Parsed,
    Record,
    RowError,
    conversation,
    kind,
    missing,
    shown,
    source_id,
    text,
)
from clear_pipeline.formats.strict_json import parse
from clear_pipeline.formats.turns import (
    decoded_columns,
    decoded_turns,
    json_column,
    read_tools,
    read_turns,
    turn_list,
    write_turn,
)
from clear_pipeline.schema import JSON, Message, canonical_json

_ROLES = {
    "human": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bing": "assistant",
    "bard": "assistant",
    "model": "assistant",
    "bot": "assistant",
    "observation": "tool",
    "function_response": "tool",
    "function_call": "assistant",
}
"""Speakers by ShareGPT's names; OpenAI's own names are read as they are."""
_SPEAKERS = {"user": "human", "assistant": "gpt", "tool": "observation"}


@dataclass(frozen=True, slots=True)
class ShareGPT:
    """Which columns may hold the turns, the one to write first, and where system and tools are.

    Tool calls carry no ids here: they are numbered, and answered in the order they were made. Some
    writers put them into the turn as OpenAI does; these are read too.
    """

    conversations: tuple[str, ...] = ("conversations", "conversation", "messages")
    system: str = "system"
    tools: str = "tools"
    ids: tuple[str, ...] = ID_COLUMNS

    @property
    def name(self) -> str:
        """`sharegpt`."""
        return "sharegpt"

    @property
    def fields(self) -> frozenset[str]:
        """`conversations`, `system`, `tools`, `id`."""
        return frozenset({"conversations", "system", "tools", "id"})

    @property
    def reserved(self) -> frozenset[str]:
        """The columns of turns, system prompt and tools."""
        return frozenset({*self.conversations, self.system, self.tools})

    def mapped(self, columns: Mapping[str, str]) -> ShareGPT:
        """Take the given columns."""
        given = columns.get("conversations")
        return replace(
            self,
            conversations=(given,) if given is not None else self.conversations,
            system=columns.get("system", self.system),
            tools=columns.get("tools", self.tools),
            ids=(columns["id"],) if "id" in columns else self.ids,
        )

    def matches(self, record: Record) -> bool:
        """Whether there is a column of turns."""
        return self._column(record) is not None

    def _column(self, record: Record) -> str | None:
        return next((name for name in self.conversations if name in record), None)

    def used(self, record: Record) -> frozenset[str]:
        """The columns that are read; a system prompt among the turns goes before the column's."""
        names = {self._column(record) or "", self.tools}
        if not self._begins_with_system(record):
            names.add(self.system)
        return frozenset(names & record.keys())

    def _begins_with_system(self, record: Record) -> bool:
        column = self._column(record)
        turns = turn_list(record, column) if column is not None else []
        return bool(turns) and _named(turns[0][_keys(turns[0])[0]]) == "system"

    def decoded(self, record: Record) -> dict[str, JSON]:
        """Turns and tool calls are lists; tools are JSON text in this format."""
        column = self._column(record) or self.conversations[0]
        return decoded_turns(decoded_columns(record, {column}), column)

    def read(self, record: Record) -> Parsed:
        """Understand a record, see `Layout.read`."""
        column = self._column(record)
        if column is None:
            raise missing(record, self.conversations[0])
        messages, unscorable = read_turns(_openai_turns(turn_list(record, column)))
        system = text(record, self.system)
        if system and (not messages or messages[0].role != "system"):
            messages.insert(0, Message("system", system))
        return conversation(
            messages,
            tools=read_tools(record, self.tools),
            unscorable=unscorable,
            source_id=source_id(record, self.ids),
        )

    def compose(self, parsed: Parsed) -> dict[str, JSON]:
        """Lay out all turns; one with both text and tool calls has no place."""
        if parsed.unscorable is not None:
            raise RowError(f"sharegpt has no place for a content part ({parsed.unscorable})")
        turns = [_sharegpt_turn(m) for m in (*parsed.messages, parsed.target)]
        row: dict[str, JSON] = {self.conversations[0]: turns}
        if parsed.tools is not None:
            row[self.tools] = parsed.tools
        return row

    def with_target(self, record: Record, target: Message) -> dict[str, JSON]:
        """A copy with another last turn, under the keys and the speaker's name of the old one."""
        column = self._column(record) or self.conversations[0]
        *before, last = turn_list(record, column)
        new = _sharegpt_turn(target)
        speaker, content = _keys(last)
        if target.tool_calls is None and last[speaker] != "function_call":
            new = {speaker: last[speaker], content: new.pop("value"), **_without_speaker(new)}
        return {**record, column: [*before, new]}


def _without_speaker(turn: Mapping[str, JSON]) -> dict[str, JSON]:
    return {key: value for key, value in turn.items() if key not in ("from", "value")}


def _keys(turn: Mapping[str, JSON]) -> tuple[str, str]:
    """The keys of the speaker and of what is said."""
    speaker = next((k for k in ("from", "role") if k in turn), None)
    content = next((k for k in ("value", "content", "text") if k in turn), None)
    if speaker is None or content is None:
        raise RowError(f"a turn needs 'from' and 'value' (found {shown(list(turn))})")
    return speaker, content


def _named(label: JSON) -> str:
    """A speaker, as `_ROLES` spells it; "" for what is no text."""
    return label.strip().lower() if isinstance(label, str) else ""


def _openai_turns(turns: Sequence[Mapping[str, JSON]]) -> list[Mapping[str, JSON]]:
    result: list[Mapping[str, JSON]] = []
    ids: list[str] = []
    answers = 0
    for number, turn in enumerate(turns, start=1):
        try:
            speaker, content = _keys(turn)
            name = _named(turn[speaker])
            said: dict[str, JSON] = {
                "role": _ROLES.get(name, turn[speaker]),
                "content": turn[content],
                "weight": turn.get("weight"),
                "name": turn.get("name"),
            }
            if name == "function_call":
                said |= {"content": None, "tool_calls": _read_calls(turn[content], ids)}
            elif said["role"] == "tool":
                answers += 1
                link = ids[answers - 1] if answers <= len(ids) else f"call_{answers}"
                said["tool_call_id"] = text(turn, "tool_call_id") or link
            else:
                said["tool_calls"] = _openai_calls(turn, ids)
        except RowError as error:
            raise RowError(f"turn {number}: {error}") from None
        result.append(said)
    return result


def _openai_calls(turn: Mapping[str, JSON], ids: list[str]) -> JSON:
    """Tool calls as OpenAI has them, which stand in a turn beside what is said."""
    calls = json_column(turn, "tool_calls")
    if not isinstance(calls, list):
        return calls
    numbered: list[JSON] = []
    for call in calls:
        if isinstance(call, Mapping):
            given = call.get("id")
            ids.append(given if isinstance(given, str) else f"call_{len(ids) + 1}")
            numbered.append({**call, "id": ids[-1] if given is None else given})
        else:
            numbered.append(call)
    return numbered


def _read_calls(value: JSON, ids: list[str]) -> list[JSON]:
    """`{"name", "arguments"}`, or a list of them, as OpenAI tool calls numbered on."""
    calls = parse(value) if isinstance(value, str) else value
    made: list[JSON] = []
    for call in calls if isinstance(calls, list) else [calls]:
        if not isinstance(call, Mapping) or not isinstance(call.get("name"), str):
            raise RowError(f"function_call is {kind(call)} without a name")
        arguments = call.get("arguments", {})
        function: JSON = {
            "name": call["name"],
            "arguments": arguments if isinstance(arguments, str) else canonical_json(arguments),
        }
        ids.append(f"call_{len(ids) + 1}")
        made.append({"id": ids[-1], "type": "function", "function": function})
    return made


def _sharegpt_turn(message: Message) -> dict[str, JSON]:
    turn: dict[str, JSON] = {
        "from": _SPEAKERS.get(message.role, message.role),
        "value": message.content,
    }
    if message.tool_calls is not None:
        if message.content:
            raise RowError("sharegpt has no place for text and tool calls in one turn")
        turn = {"from": "function_call", "value": _written_calls(message.tool_calls)}
    kept = write_turn(message)
    return turn | {key: kept[key] for key in ("name", "weight") if key in kept}


def _written_calls(tool_calls: str) -> str:
    calls: list[JSON] = []
    for call in json.loads(tool_calls):
        if "function" not in call:
            raise RowError(f"sharegpt has no place for a {call.get('type')!r} tool call")
        calls.append({"name": call["function"]["name"], "arguments": _arguments(call["function"])})
    return json.dumps(calls[0] if len(calls) == 1 else calls, ensure_ascii=False)


def _arguments(function: Mapping[str, JSON]) -> JSON:
    arguments = function.get("arguments", {})
    if not isinstance(arguments, str):
        return arguments
    try:
        return parse(arguments)
    except RowError:  # the dataset's model wrote broken JSON: that is what the row teaches
        return arguments


SHAREGPT = ShareGPT()
