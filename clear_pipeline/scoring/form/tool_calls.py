"""Tool calls are such as the row's tools can take.

Whether a tool is called at all is part of the answer, and left to the judge. Of a tool's schema the
required arguments are looked at, not their types.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from clear_pipeline.formats.base import RowError
from clear_pipeline.formats.strict_json import parse
from clear_pipeline.schema import JSON, Example, Message
from clear_pipeline.scoring.tool_calls import UNREADABLE, is_tagged, written_calls


class _Tool(NamedTuple):
    required: frozenset[str]


def lost_call(example: Example, target: Message) -> str | None:
    """Why the calls of the new target are not well-formed; None if they are, or there are none."""
    if target.tool_calls and example.tools is None and example.target.tool_calls is None:
        return "it calls a tool, and the row has none"
    text = target.tool_calls or target.content or ""
    calls = written_calls(text)
    if not target.tool_calls:  # a server that parses no calls gives them as text
        has_tools = example.tools is not None or is_tagged(example.response)
        if not has_tools or (calls is None and not is_tagged(text)):
            return None
    if calls is None:
        return UNREADABLE
    tools = _tools(example.tools)
    wrong = (_wrong(name, arguments, tools) for name, arguments in calls)
    return next((why for why in wrong if why is not None), None)


def _wrong(name: str, arguments: JSON, tools: Mapping[str, _Tool]) -> str | None:
    if tools and name not in tools:
        return f"it calls {name[:40]!r}, which is none of the row's tools"
    if not isinstance(arguments, dict):
        return f"the arguments of its call of {name[:40]!r} are no JSON object"
    lacking = sorted(tools[name].required - arguments.keys()) if tools else []
    if lacking:
        return f"its call of {name[:40]!r} lacks the argument {lacking[0][:40]!r}"
    return None


def _tools(text: str | None) -> dict[str, _Tool]:
    """The row's tools by name; those whose definition cannot be read are not among them."""
    try:
        defined = [] if text is None else parse(text)
    except RowError:
        return {}
    found: dict[str, _Tool] = {}
    for tool in defined if isinstance(defined, list) else [defined]:
        if not isinstance(tool, Mapping):
            continue
        function = tool.get("function", tool)
        name = function.get("name") if isinstance(function, Mapping) else None
        if isinstance(function, Mapping) and isinstance(name, str):
            schema = function.get("parameters", function.get("input_schema"))
            required = schema.get("required") if isinstance(schema, Mapping) else None
            names = required if isinstance(required, list) else []
            found[name] = _Tool(frozenset(n for n in names if isinstance(n, str)))
    return found
