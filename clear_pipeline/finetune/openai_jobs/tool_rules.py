"""What a fine-tuning platform asks of the tools of a row: declared, called and answered.

Tools of old (`functions`, `function_call`, role `function`) are held to the same, as far as they
have it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from clear_pipeline.formats.base import RowError, kind
from clear_pipeline.formats.strict_json import parse
from clear_pipeline.schema import JSON

MAX_TOOLS: Final = 128
"""In one row."""

_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_Turn = Mapping[str, JSON]


def tool_faults(record: Mapping[str, JSON], turns: Sequence[_Turn]) -> Iterator[str]:
    """Why the platform would refuse the tools of a row, or the calls in its turns."""
    names: set[str] = set()
    for column in ("tools", "functions"):
        if record.get(column) is not None:
            yield from _declared(record[column], column, names)
    if not isinstance(record.get("parallel_tool_calls", True), bool):
        yield "parallel_tool_calls is neither true nor false"
    yield from _calls(turns, names)


def _declared(listed: JSON, column: str, names: set[str]) -> Iterator[str]:
    """Faults of declarations; the names that are declared are added to `names`."""
    if not isinstance(listed, list) or not listed:
        yield f"{column} is {kind(listed)}, expected a list that is not empty"
        return
    if len(listed) > MAX_TOOLS:
        yield f"{column}: {len(listed)} are declared, at most {MAX_TOOLS} are taken"
    for number, tool in enumerate(listed, 1):
        match tool:
            case {"type": "function", "function": dict(function)} if column == "tools":
                pass
            case dict(function) if column == "functions":
                pass
            case _:
                yield f'{column}: number {number} is not {{"type": "function", "function": ...}}'
                continue
        name, parameters = function.get("name"), function.get("parameters", {})
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            yield (
                f"{column}: number {number} has no name of up to 64 letters, digits, "
                "underscores and hyphens"
            )
        elif name in names:
            yield f"{column}: {name!r} is declared twice"
        else:
            names.add(name)
        if not isinstance(parameters, Mapping):
            yield f"{column}: the parameters of number {number} are no JSON schema"


def _calls(turns: Sequence[_Turn], names: set[str]) -> Iterator[str]:
    """Every call is of a declared function and answered before anybody else speaks.

    Only the calls of the last turn wait for nobody: they are what is learnt.
    """
    open_: list[str] = []
    asked_of_old = False
    for number, turn in enumerate(turns, 1):
        place, role = f"turn {number}", turn.get("role")
        if role == "tool":
            answered = turn.get("tool_call_id")
            if isinstance(answered, str) and answered in open_:
                open_.remove(answered)
            else:
                yield f"{place}: tool_call_id {_shown(answered)} answers no open call before it"
        elif turn.get("tool_call_id") is not None:
            yield f"{place}: tool_call_id on a turn of the {role}"
        if role != "tool" and open_:
            yield f"{place}: stands before the answer to {', '.join(map(_shown, open_))}"
            open_ = []
        if role == "function" and not asked_of_old:
            yield f"{place}: the function answers no function_call before it"
        asked_of_old = turn.get("function_call") is not None
        made, faults = _made(turn, names)
        open_ += made
        yield from (f"{place}: {fault}" for fault in faults)


def _made(turn: _Turn, names: set[str]) -> tuple[list[str], list[str]]:
    """The ids of the calls in a turn, and what is wrong with these calls."""
    ids: list[str] = []
    faults: list[str] = []
    calls, of_old = turn.get("tool_calls"), turn.get("function_call")
    if (calls is not None or of_old is not None) and turn.get("role") != "assistant":
        faults.append(f"the {turn.get('role')} calls a tool; only the assistant may")
    if of_old is not None:
        faults += _function_faults(of_old, names)
    if calls is not None and (not isinstance(calls, list) or not calls):
        faults.append(f"tool_calls is {kind(calls)}, expected a list that is not empty")
    for call in calls if isinstance(calls, list) else ():
        match call:
            case {"id": str(id_), "type": "function", "function": function} if id_:
                if id_ in ids:
                    faults.append(f"two calls have the id {_shown(id_)}")
                else:
                    ids.append(id_)
                faults += _function_faults(function, names)
            case _:
                faults.append("a call lacks its id, its type `function` or its function")
    return ids, faults


def _function_faults(function: JSON, names: set[str]) -> Iterator[str]:
    match function:
        case {"name": str(name), "arguments": str(arguments)}:
            if name not in names:
                yield f"calls {_shown(name)}, which is not among the row's tools"
            try:
                value = parse(arguments)
            except RowError as error:
                yield f"the arguments of {_shown(name)} cannot be read ({error})"
            else:
                if not isinstance(value, Mapping):
                    yield f"the arguments of {_shown(name)} are {kind(value)}, expected an object"
        case _:
            yield "a call has no function name, or arguments that are no text"


def _shown(value: JSON) -> str:
    return repr(value[:40]) if isinstance(value, str) else kind(value)
