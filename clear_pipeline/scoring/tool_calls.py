"""Tool calls compared by what they call, not by how they are written.

A call is a bag of facts: its name, and the value at every path of its arguments. The calls of one
turn run side by side, so their order does not count; how often a call is made does.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import count
from typing import Final, TypeAlias

from clear_pipeline.formats.base import RowError
from clear_pipeline.formats.strict_json import parse
from clear_pipeline.prompts.candidate import UnfitCandidateError, refuse_halves
from clear_pipeline.schema import JSON, Example, Message, canonical_json, normalise
from clear_pipeline.scoring.similarity import overlap

Call: TypeAlias = Counter[str]
"""The facts of one call."""

UNREADABLE: Final = "its tool calls cannot be read"
"""Why a candidate is refused that means to call a tool in no known form."""
_TAGGED = re.compile(r"<tool_call>(.*?)</tool_call>", re.DOTALL)


def row_calls(example: Example) -> list[Call] | None:
    """The calls that the row's response makes; None if it is an answer in words."""
    if example.target.tool_calls is not None:
        return read_calls(example.target.tool_calls)
    return read_calls(example.response) if example.tools is not None else None


def both_calls(example: Example, text: str) -> tuple[list[Call] | None, list[Call] | None]:
    """The calls of the row's response, and those of another response to it.

    None of a response that is an answer in words. JSON of another response means calls only where
    the row has tools or calls one.
    """
    ours = row_calls(example)
    may_call = example.tools is not None or ours is not None
    return ours, read_calls(text) if may_call else None


def read_calls(text: str) -> list[Call] | None:
    """The facts of the calls in `text`, see `written_calls`; None if `text` is anything else."""
    calls = written_calls(text)
    return None if calls is None else [_facts(name, arguments) for name, arguments in calls]


def written_calls(text: str) -> list[tuple[str, JSON]] | None:
    """Names and arguments of the calls in `text`: OpenAI's JSON, or as models write them.

    Known forms, where the server parses none: a list of calls, one call, and calls between
    `<tool_call>` tags; each with its name and arguments, in `function` or not. None if `text` is
    anything else.
    """
    pieces = _TAGGED.findall(text) or [text]
    found: list[JSON] = []
    for piece in pieces:
        value = _parsed(piece)
        found += value if isinstance(value, list) else [value]
    calls = [call for call in map(_named, found) if call is not None]
    return calls if calls and len(calls) == len(found) else None


def with_calls(example: Example, target: Message) -> Message:
    """A new target for a row that calls tools, with the calls of its text as `tool_calls`.

    A server that parses no calls gives them as text, which would teach another form than the
    row's. The calls get ids that no other turn of the row has; text beside tags stays.

    Raises:
        UnfitCandidateError: It means to call a tool, and the calls cannot be read.
    """
    text = target.content or ""
    if target.tool_calls is not None:
        return target
    calls = written_calls(text)
    if calls is None:
        if is_tagged(text):
            raise UnfitCandidateError(UNREADABLE)
        return target
    made: list[JSON] = [
        {"id": id_, "type": "function", "function": _function(name, arguments)}
        for id_, (name, arguments) in zip(_free_ids(example), calls, strict=False)
    ]
    tool_calls = canonical_json(made)
    refuse_halves(tool_calls)
    beside = _TAGGED.sub("", text).strip() if is_tagged(text) else ""
    return replace(target, content=beside or None, tool_calls=tool_calls)


def _function(name: str, arguments: JSON) -> dict[str, JSON]:
    written = arguments if isinstance(arguments, str) else canonical_json(arguments)
    return {"name": name, "arguments": written}


def _free_ids(example: Example) -> Iterator[str]:
    """`call_1`, `call_2`, ... but for those that a turn before the target has."""
    taken = {call.get("id") for m in example.messages for call in json.loads(m.tool_calls or "[]")}
    return (id_ for number in count(1) if (id_ := f"call_{number}") not in taken)


def is_tagged(text: str) -> bool:
    """Whether `text` means to call a tool between tags, well-formed or not."""
    return "<tool_call>" in text


def same_calls(first: Sequence[Call], second: Sequence[Call]) -> bool:
    """Whether two turns make the same calls."""
    return _bag(first) == _bag(second)


def calls_agreement(first: Sequence[Call], second: Sequence[Call]) -> float:
    """Share of facts that two turns have in common (F1), in [0, 1]; 1 for the same calls."""
    return overlap(sum(first, Counter()), sum(second, Counter()))


def _bag(calls: Sequence[Call]) -> Counter[tuple[tuple[str, int], ...]]:
    return Counter(tuple(sorted(call.items())) for call in calls)


def _parsed(text: str) -> JSON:
    try:
        return parse(text.strip())
    except RowError:
        return None


def _named(call: JSON) -> tuple[str, JSON] | None:
    """The name of a call and its arguments, parsed where they are a text of JSON."""
    if not isinstance(call, Mapping):
        return None
    function = call.get("function", call)
    if not isinstance(function, Mapping):
        return None
    name = function.get("name")
    none: JSON = {} if "function" in call else None  # an object with a name alone may be anything
    arguments = function.get("arguments", function.get("parameters", none))
    if not isinstance(name, str) or arguments is None:
        return None
    if isinstance(arguments, str):
        parsed = _parsed(arguments or "{}")
        arguments = arguments if parsed is None else parsed
    return name, arguments


def _facts(name: str, arguments: JSON) -> Call:
    return Counter([name, *(f"{name}{path}={value}" for path, value in _leaves(arguments, ""))])


def _leaves(value: JSON, path: str) -> Iterator[tuple[str, str]]:
    """Every value with its path. Strings without regard to case and white space."""
    match value:
        case Mapping() if value:
            for key, item in value.items():
                yield from _leaves(item, f"{path}.{canonical_json(key)}")
        case list() if value:
            for index, item in enumerate(value):
                yield from _leaves(item, f"{path}[{index}]")
        case str():
            yield path, canonical_json(normalise(value).casefold())
        case float() if value.is_integer():
            yield path, str(int(value))
        case _:
            yield path, canonical_json(value)
