"""JSON stays JSON with the same keys.

Objects have the same keys at every depth. An object of a list has the keys of one of the objects
that the original's list has, however many there are; where that list is empty, anything goes. A
plain value takes the place of any other plain value, and null may become anything: a correction may
well be a number where there was a word. What the keys mean is not looked at.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, TypeAlias

from clear_pipeline.formats.base import RowError
from clear_pipeline.formats.strict_json import parse
from clear_pipeline.schema import JSON, Example, Message
from clear_pipeline.scoring.tool_calls import row_calls

_NAMED: Final = 3
"""Keys that a reason names."""


@dataclass(frozen=True, slots=True)
class _Object:
    fields: tuple[tuple[str, Shape], ...]


@dataclass(frozen=True, slots=True)
class _List:
    items: tuple[Shape, ...]


Shape: TypeAlias = _Object | _List | str
"""A JSON value without what it says: keys in order, and of the items of a list each shape once."""

_PLAIN: Final = "plain"
_NULL: Final = "null"


def lost_json(example: Example, target: Message) -> str | None:
    """What the new target lost of the original's JSON; None where the original is none.

    Nor where one of the two calls tools: the arguments of a call are its answer.
    """
    if target.tool_calls is not None or row_calls(example) is not None:
        return None
    return lost_keys(example.target.content or "", target.content or "")


def lost_keys(old: str, new: str) -> str | None:
    """What `new` lost of `old`, two texts; None if `old` is no JSON object or list."""
    before = json_value(old)
    if before is None:
        return None
    try:
        after = parse(new)
    except RowError as error:
        return f"it is no JSON, as the original is ({error})"
    return _misfit(_shape(before), _shape(after))


def json_value(text: str) -> JSON:
    """The JSON object or list that a text is, else None."""
    try:
        value = parse(text)
    except RowError:
        return None
    return value if isinstance(value, dict | list) else None


def _shape(value: JSON) -> Shape:
    match value:
        case dict():
            return _Object(tuple((key, _shape(value[key])) for key in sorted(value)))
        case list():
            return _List(tuple(dict.fromkeys(map(_shape, value))))
        case None:
            return _NULL
        case _:
            return _PLAIN


def _misfit(old: Shape, new: Shape) -> str | None:
    match old, new:
        case (_Object(), _Object()):
            return _other_fields(dict(old.fields), dict(new.fields))
        case (_List(), _List()):
            return _other_items(old.items, new.items)
    if old == _NULL or {old, new} <= {_PLAIN, _NULL}:
        return None
    return "its JSON has another structure than the original's"


def _other_fields(old: dict[str, Shape], new: dict[str, Shape]) -> str | None:
    if lacking := old.keys() - new.keys():
        return f"its JSON lacks keys of the original: {_listed(lacking)}"
    if added := new.keys() - old.keys():
        return f"its JSON has keys that the original has not: {_listed(added)}"
    misfits = (_misfit(old[key], new[key]) for key in old)
    return next((why for why in misfits if why is not None), None)


def _other_items(old: tuple[Shape, ...], new: tuple[Shape, ...]) -> str | None:
    for item in new:
        misfits = [_misfit(known, item) for known in old]
        if misfits and None not in misfits:
            return misfits[0]
    return None


def _listed(keys: Iterable[str]) -> str:
    names = sorted(keys)
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(repr(name[:40]) for name in names[:_NAMED]) + more
