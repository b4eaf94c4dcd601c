"""OpenAI chat rows: `messages`, with `tools`, weights and content parts; `functions` of old."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace

from clear_pipeline.formats.base import (
    ID_COLUMNS,
    Parsed,
    Record,
    RowError,
    conversation,
    missing,
    source_id,
    text,
)
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


@dataclass(frozen=True, slots=True)
class Chat:
    """Where a chat row holds its turns and tools; `functions` is read if there are no tools."""

    messages: str = "messages"
    tools: str = "tools"
    ids: tuple[str, ...] = ID_COLUMNS

    @property
    def name(self) -> str:
        """`openai`."""
        return "openai"

    @property
    def fields(self) -> frozenset[str]:
        """`messages`, `tools`, `id`."""
        return frozenset({"messages", "tools", "id"})

    @property
    def reserved(self) -> frozenset[str]:
        """The columns of turns and tools."""
        return frozenset({self.messages, self.tools, "functions"})

    def mapped(self, columns: Mapping[str, str]) -> Chat:
        """Take the given columns."""
        return replace(
            self,
            messages=columns.get("messages", self.messages),
            tools=columns.get("tools", self.tools),
            ids=(columns["id"],) if "id" in columns else self.ids,
        )

    def matches(self, record: Record) -> bool:
        """Whether there is a column of turns, and no turn speaks ShareGPT."""
        if self.messages not in record:
            return False
        turns = record[self.messages]
        return not (
            isinstance(turns, list)
            and any(isinstance(turn, Mapping) and "from" in turn for turn in turns)
        )

    def used(self, record: Record) -> frozenset[str]:
        """Turns and tools."""
        return frozenset(name for name in self.reserved if name in record)

    def decoded(self, record: Record) -> dict[str, JSON]:
        """Turns, tools and tool calls are lists."""
        return decoded_turns(decoded_columns(record, self.reserved), self.messages)

    def read(self, record: Record) -> Parsed:
        """Understand a record, see `Layout.read`."""
        if self.messages not in record:
            raise missing(record, self.messages)
        turns = _with_tool_calls(turn_list(record, self.messages))
        messages, unscorable = read_turns(turns)
        return conversation(
            messages,
            tools=read_tools(record, self.tools) or _from_functions(record),
            unscorable=unscorable,
            source_id=source_id(record, self.ids),
        )

    def compose(self, parsed: Parsed) -> dict[str, JSON]:
        """Lay out all turns and the tools; everything has its place here."""
        turns = [*parsed.messages, parsed.target]
        row: dict[str, JSON] = {
            self.messages: [write_turn(m, unscorable=parsed.unscorable) for m in turns]
        }
        if parsed.tools is not None:
            row[self.tools] = json.loads(parsed.tools)
        return row

    def with_target(self, record: Record, target: Message) -> dict[str, JSON]:
        """A copy with another last turn, a call as `function_call` where the row has it so."""
        turn = write_turn(target)
        if json_column(record, self.tools) is None and "functions" in record:
            turn = _with_function_call(turn)
        return {**record, self.messages: [*turn_list(record, self.messages)[:-1], turn]}


def _from_functions(record: Record) -> str | None:
    functions = read_tools(record, "functions")
    if functions is None:
        return None
    return canonical_json([{"type": "function", "function": f} for f in json.loads(functions)])


def _with_tool_calls(turns: list[Mapping[str, JSON]]) -> list[Mapping[str, JSON]]:
    """Turns where the deprecated `function_call` and role `function` are tool calls and tools."""
    result: list[Mapping[str, JSON]] = []
    calls = 0
    for turn in turns:
        call = json_column(turn, "function_call")
        if call is not None:
            if not isinstance(call, Mapping):
                raise RowError(f"turn {len(result) + 1}: function_call is no object")
            calls += 1
            made: JSON = [{"id": f"call_{calls}", "type": "function", "function": call}]
            result.append({**turn, "tool_calls": made})
        elif turn.get("role") == "function":
            link = text(turn, "tool_call_id") or f"call_{calls}"
            result.append({**turn, "role": "tool", "tool_call_id": link})
        else:
            result.append(turn)
    return result


def _with_function_call(turn: dict[str, JSON]) -> dict[str, JSON]:
    """A turn of one tool call with the deprecated key; any other as it is."""
    match turn.pop("tool_calls", None):
        case [{"function": function}]:
            turn |= {"content": turn.get("content"), "function_call": function}
        case list(calls):
            turn["tool_calls"] = calls
    return turn


CHAT = Chat()
