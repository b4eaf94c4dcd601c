"""What a fine-tuning platform asks of one row, by OpenAI's rules: its columns and its turns.

The rules look at the row as it stands in the file, and say what is wrong in words that can stand
after its place.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Final

from clear_pipeline.finetune.openai_jobs.tool_rules import tool_faults
from clear_pipeline.formats.base import kind, shown
from clear_pipeline.schema import JSON, Role

COLUMNS: Final = frozenset({"messages", "tools", "parallel_tool_calls", "functions"})
"""What a row may have; any other column is refused."""

ROLES: Final = (*Role, "function")
"""`function` is the role of tools of old."""

MAX_IMAGES: Final = 10
"""In one row."""

_TURN_KEYS: Final = frozenset(
    {"role", "content", "name", "refusal", "tool_calls", "tool_call_id", "function_call", "weight"}
)
_SILENT: Final = ("tool_calls", "function_call", "refusal")
"""An assistant's turn with one of these needs no content."""


def row_faults(record: Mapping[str, JSON]) -> Iterator[str]:
    """Why the platform would refuse a row, all reasons."""
    if unknown := sorted(record.keys() - COLUMNS):
        yield f"unknown columns {shown(unknown)}: export with extra_columns: drop"
    turns = record.get("messages")
    if not isinstance(turns, list) or not turns:
        yield f"messages is {kind(turns)}, expected a list of turns that is not empty"
        return
    for number, turn in enumerate(turns, 1):
        if not isinstance(turn, Mapping):
            yield f"turn {number} is {kind(turn)}, expected an object"
            return
        yield from (f"turn {number}: {reason}" for reason in _turn_faults(turn))
    yield from _conversation_faults(turns)
    yield from tool_faults(record, turns)


def row_doubts(record: Mapping[str, JSON]) -> Iterator[str]:
    """What the platform takes, but models are seldom asked: warnings. For a row without faults."""
    roles = [turn["role"] for turn in _turns(record)]
    if "user" not in roles:
        yield "no user turn: nothing is asked"
    told = [number for number, role in enumerate(roles, 1) if role in ("system", "developer")]
    if late := [number for number in told if number > 1]:
        yield f"turn {late[0]}: the {roles[late[0] - 1]} speaks after others"
    for number, (before, role) in enumerate(pairwise(roles), 2):
        if before == role and role in ("user", "assistant"):
            yield f"turn {number}: two turns of the {role} in a row"


def learns_earlier_turns(record: Mapping[str, JSON]) -> bool:
    """Whether the platform learns more of a row than its last turn. For a row without faults."""
    return any(
        turn["role"] == "assistant" and turn.get("weight") != 0 for turn in _turns(record)[:-1]
    )


def has_images(record: Mapping[str, JSON]) -> bool:
    """Whether a row has any. For a row without faults."""
    return any(map(_images, _turns(record)))


def without_images(record: Mapping[str, JSON]) -> dict[str, JSON]:
    """A copy of a row without faults that has its texts alone."""
    turns = [
        {**turn, "content": [part for part in content if not _is_image(part)]}
        if isinstance(content := turn.get("content"), list)
        else turn
        for turn in _turns(record)
    ]
    return {**record, "messages": turns}


def _turns(record: Mapping[str, JSON]) -> list[Mapping[str, JSON]]:
    turns = record["messages"]
    assert isinstance(turns, list)  # noqa: S101 -- a row without faults
    return turns


def _turn_faults(turn: Mapping[str, JSON]) -> Iterator[str]:
    role = turn.get("role")
    if role not in ROLES:
        yield f"role is {_quoted(role)}, expected {', '.join(ROLES)}"
        return
    if unknown := sorted(turn.keys() - _TURN_KEYS):
        yield f"unknown keys {shown(unknown)}"
    yield from _content_faults(turn, str(role))
    if (name := turn.get("name")) is not None and (not isinstance(name, str) or not name):
        yield f"name is {kind(name)}, expected text that is not empty"
    if (weight := turn.get("weight")) is not None:
        if isinstance(weight, bool) or weight not in (0, 1):
            yield f"weight is {_quoted(weight)}, expected 0 or 1"
        elif role != "assistant":
            yield f"weight on a turn of the {role}: only the assistant's turns have one"


def _content_faults(turn: Mapping[str, JSON], role: str) -> Iterator[str]:
    content = turn.get("content")
    if content is None:
        if role != "assistant" or not any(turn.get(key) for key in _SILENT):
            yield "content is missing"
    elif isinstance(content, str):
        may_be_empty = role in ("tool", "function") or any(turn.get(key) for key in _SILENT)
        if not content and not may_be_empty:
            yield "content is empty"
    elif isinstance(content, list) and content:
        yield from _part_faults(content, role)
    else:
        yield f"content is {kind(content)}, expected text or a list of parts"


def _part_faults(parts: Sequence[JSON], role: str) -> Iterator[str]:
    for number, part in enumerate(parts, 1):
        match part:
            case {"type": "text", "text": str(text)} if text:
                continue
            case {"type": "image_url", "image_url": {"url": str(url)}} if role == "user":
                if not url.startswith(("https://", "http://", "data:image/")):
                    yield f"content part {number}: the image is no URL and no data URL"
            case {"type": "image_url"}:
                yield f"content part {number}: an image of the {role}, or one without a URL"
            case {"type": str(type_)}:
                yield f"content part {number} of type {_quoted(type_)} is empty or unknown"
            case _:
                yield f"content part {number} has no type"


def _conversation_faults(turns: Sequence[Mapping[str, JSON]]) -> Iterator[str]:
    answers = [turn for turn in turns if turn.get("role") == "assistant"]
    if not answers:
        yield "no turn of the assistant: there is nothing to learn"
    elif turns[-1].get("role") != "assistant":
        yield f"the last turn is the {turns[-1].get('role')}'s, expected the assistant's"
    elif all(turn.get("weight") == 0 for turn in answers):
        yield "every turn of the assistant has weight 0: there is nothing to learn"
    if (images := sum(map(_images, turns))) > MAX_IMAGES:
        yield f"{images} images, at most {MAX_IMAGES} are taken"


def _images(turn: Mapping[str, JSON]) -> int:
    content = turn.get("content")
    return sum(map(_is_image, content)) if isinstance(content, list) else 0


def _is_image(part: JSON) -> bool:
    return isinstance(part, Mapping) and part.get("type") == "image_url"


def _quoted(value: JSON) -> str:
    """A value as it may stand in a message: short, and its kind where it is no plain value."""
    if isinstance(value, str):
        return repr(value[:40])
    return str(value) if isinstance(value, int | float) else kind(value)
