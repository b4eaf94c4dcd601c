"""Turns and tools in OpenAI's shape, the one that chat and ShareGPT rows share."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress

from clear_pipeline.formats.base import RowError, kind, shown, text
from clear_pipeline.formats.strict_json import parse
from clear_pipeline.schema import JSON, Message, Role, canonical_json

_PART_KINDS = {"image_url": "image", "input_image": "image", "input_audio": "audio"}
_ROLES = frozenset(Role)


def json_column(record: Mapping[str, JSON], name: str) -> JSON:
    """A column that holds a value, or the value's JSON as text (as in CSV); "" counts as null.

    Raises:
        RowError: Text that is no JSON.
    """
    value = record.get(name)
    if not isinstance(value, str):
        return value
    if not value.strip():
        return None
    try:
        return parse(value)
    except RowError as error:
        raise RowError(f"key {name!r}: {error}") from None


def decoded_columns(record: Mapping[str, JSON], names: Collection[str | None]) -> dict[str, JSON]:
    """A record with the values of the named columns that hold JSON text.

    Those whose text says nothing are left out; one whose text is no JSON stays as it is.
    """
    decoded = dict(record)
    for name, value in record.items():
        if name in names and isinstance(value, str):
            with suppress(RowError):
                decoded[name] = json_column(record, name)
                if decoded[name] is None:
                    del decoded[name]
    return decoded


def decoded_turns(record: dict[str, JSON], column: str) -> dict[str, JSON]:
    """The record, with tool calls that stand in a turn as JSON text as values."""
    turns = record.get(column)
    if not isinstance(turns, list):
        return record
    names = ("tool_calls", "function_call")
    made = [decoded_columns(t, names) if isinstance(t, Mapping) else t for t in turns]
    return record | {column: made}


def turn_list(record: Mapping[str, JSON], column: str) -> list[Mapping[str, JSON]]:
    """The turns in a column.

    Raises:
        RowError: It is no list of objects.
    """
    turns = json_column(record, column)
    if not isinstance(turns, list):
        raise RowError(f"key {column!r} is {kind(turns)}, expected a list of turns")
    for number, turn in enumerate(turns, start=1):
        if not isinstance(turn, Mapping):
            raise RowError(f"turn {number} is {kind(turn)}, expected an object")
    return turns


def read_turns(turns: Sequence[Mapping[str, JSON]]) -> tuple[list[Message], str | None]:
    """Understand OpenAI messages.

    Returns:
        The messages, and why a model cannot be asked about them (`image`), or None.

    Raises:
        RowError: A role, a content or a tool call is not what it must be; names the turn.
    """
    messages: list[Message] = []
    unscorable: str | None = None
    for number, turn in enumerate(turns, start=1):
        try:
            message, reason = _read_turn(turn)
        except RowError as error:
            raise RowError(f"turn {number}: {error}") from None
        messages.append(message)
        unscorable = unscorable or reason
    return messages, unscorable


def _read_turn(turn: Mapping[str, JSON]) -> tuple[Message, str | None]:
    role = turn.get("role")
    if not isinstance(role, str):
        raise RowError(f"role is {kind(role)} (found {shown(list(turn))})")
    role = role.strip().lower()
    if role not in _ROLES:
        raise RowError(f"unknown role {role[:40]!r}; known: {', '.join(Role)}")
    calls = _tool_calls(json_column(turn, "tool_calls"))
    content, unscorable = _content(turn.get("content"))
    if content is None and calls is None:
        content = ""
    message = Message(
        role,
        content,
        name=text(turn, "name") or None,
        tool_calls=calls,
        tool_call_id=text(turn, "tool_call_id") or None,
        weight=_weight(turn.get("weight")),
    )
    return message, unscorable


def _weight(weight: JSON) -> float | None:
    if weight is None:
        return None
    if isinstance(weight, bool) or not isinstance(weight, int | float):
        raise RowError(f"weight is {kind(weight)}, expected a number")
    try:
        return float(weight)
    except OverflowError:  # a whole number of more than 308 digits
        raise RowError("weight is out of range") from None


def _content(content: JSON) -> tuple[str | None, str | None]:
    if content is None or isinstance(content, str):
        return content, None
    if not isinstance(content, list):
        raise RowError(f"content is {kind(content)}, expected text or a list of parts")
    texts: list[str] = []
    for part in content:
        type_ = part.get("type") if isinstance(part, Mapping) else None
        if not isinstance(part, Mapping) or not isinstance(type_, str):
            raise RowError("a content part has no type")
        if type_ not in ("text", "input_text", "output_text", "refusal"):
            return canonical_json(content), _PART_KINDS.get(type_, type_[:40])
        texts.append(text(part, "refusal" if type_ == "refusal" else "text"))
    return "\n".join(texts), None


def _tool_calls(calls: JSON) -> str | None:
    if calls is None or calls == []:
        return None
    if not isinstance(calls, list):
        raise RowError(f"tool_calls is {kind(calls)}, expected a list")
    said: list[JSON] = []
    for padded in calls:
        if not isinstance(padded, Mapping):
            raise RowError(f"a tool call is {kind(padded)}, expected an object")
        call = {key: value for key, value in padded.items() if value is not None}  # as Parquet pads
        function = call.get("function", {})
        if not isinstance(function, Mapping):
            raise RowError(f"a tool call's function is {kind(function)}, expected an object")
        if "function" in call and not isinstance(function.get("name"), str):
            raise RowError("a tool call names no function")
        if not isinstance(call.get("id", ""), str):
            raise RowError("a tool call's id is no text")
        said.append(call)
    return canonical_json(said)


def write_turn(message: Message, *, unscorable: str | None = None) -> dict[str, JSON]:
    """A message as OpenAI has it; only the keys that say something.

    Args:
        message: The turn.
        unscorable: As in `Example`; if set, content that is a list of parts is written as such.
    """
    turn: dict[str, JSON] = {"role": message.role}
    if message.content is not None:
        turn["content"] = _parts(message.content) if unscorable else message.content
    if message.tool_calls is not None:
        turn["tool_calls"] = json.loads(message.tool_calls)
    for key in ("name", "tool_call_id"):
        if (value := getattr(message, key)) is not None:
            turn[key] = value
    if message.weight is not None:
        turn["weight"] = int(message.weight) if message.weight.is_integer() else message.weight
    return turn


def _parts(content: str) -> JSON:
    """The content parts that `_content` kept as canonical JSON, or the text itself."""
    if not content.startswith("[{"):
        return content
    try:
        parts: JSON = json.loads(content)
    except ValueError:
        return content
    return parts


def read_tools(record: Mapping[str, JSON], column: str = "tools") -> str | None:
    """Tool definitions of a row as canonical JSON, or None.

    Raises:
        RowError: They are no list of objects.
    """
    tools = json_column(record, column)
    if tools is None or tools == []:
        return None
    if not isinstance(tools, list) or not all(isinstance(tool, Mapping) for tool in tools):
        raise RowError(f"key {column!r} is {kind(tools)}, expected a list of tools")
    return canonical_json(tools)
