"""What is wrong with a config, where, and what was expected there."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TypeAlias

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from clear_pipeline.yaml_source import YamlSource

Known: TypeAlias = Mapping[str, Collection[str]]
"""By section or kind of stage the keys there; those of the top under ""."""


def explained(
    error: ValidationError,
    source: YamlSource,
    *,
    kinds: Sequence[str],
    known: Known,
) -> str:
    """What pydantic found wrong, a line each: file, line and column, setting, found, expected.

    Args:
        error: Of the settings as a whole.
        source: Where their values stand.
        kinds: Stages, which pydantic names as tags of a union.
        known: For "did you mean".
    """
    return "\n".join(_lines(error, source, kinds=kinds, known=known))


def _lines(
    error: ValidationError,
    source: YamlSource,
    *,
    kinds: Sequence[str],
    known: Known,
) -> Iterator[str]:
    # Unknown keys first: a misspelt one also makes its right name a missing one.
    for problem in sorted(error.errors(), key=lambda e: e["type"] != "extra_forbidden"):
        location = _without_tags(problem["loc"], kinds)
        name = _path(problem["loc"]) or "config"
        place = source.place(location)
        if problem["type"] == "extra_forbidden":
            key = str(location[-1])
            hint = _hint(key, problem["loc"][:-1], kinds, known)
            yield f"{place}: {name}: unknown key {key!r}{hint}"
        else:
            yield f"{place}: {name}: {_said(problem)}{found(location, problem.get('input'))}"


def _said(problem: ErrorDetails) -> str:
    """What is wrong: in the words of our own checks, else in pydantic's."""
    if problem["type"] == "value_error":
        return str(problem["ctx"]["error"])
    return problem["msg"]


def _without_tags(location: Sequence[str | int], kinds: Sequence[str]) -> list[str | int]:
    """A stage in the list is followed by its kind, which is no key of the file."""
    before = (None, *location)
    return [
        part
        for part, last in zip(location, before, strict=False)
        if not (part in kinds and isinstance(last, int))
    ]


def _hint(
    key: str,
    where: Sequence[str | int],
    kinds: Sequence[str],
    known: Known,
) -> str:
    """What was meant: a key of the same place before one of another."""
    if key in kinds:
        return f"; its settings stand in the list of stages: - {{kind: {key}, ...}}"
    all_keys = {name for names in known.values() for name in names}
    if key in all_keys:
        return f"; {key!r} is a key of another place"
    here = next((known[str(part)] for part in reversed(where) if str(part) in known), known[""])
    near = difflib.get_close_matches(key, here, n=1) or difflib.get_close_matches(
        key, all_keys, n=1
    )
    return f"; did you mean {near[0]!r}?" if near else ""


def _path(location: Sequence[str | int]) -> str:
    """As `--set` takes it: stages by kind, and no tags of unions, which repeat the key."""
    parts = [
        part
        for index, part in enumerate(location)
        if not (
            isinstance(part, int) and location[index + 1 : index + 2] and location[0] == "stages"
        )
        and part not in location[index + 1 : index + 2]
    ]
    return ".".join(str(part) for part in parts)


def found(location: Sequence[str | int], value: object) -> str:
    """`, found VALUE`; empty where somebody may have put a key or password."""
    name = str(location[-1]) if location else ""
    unsafe = "@?#" if name == "base_url" else "@"
    url = isinstance(value, str) and any(mark in value for mark in unsafe)
    secret = "key" in name or url
    return "" if secret or isinstance(value, (dict, list, BaseModel)) else f", found {value!r}"
