"""What is wrong with a config, where, and what was expected there."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TypeAlias

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from clear_pipeline.yaml_source import YamlSource

Known: TypeAlias = Mapping[str, Collection[str]]
"""The keys below each place that has some, places as `--set` takes them; the top is ""."""


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


def _hint(key: str, where: Sequence[str | int], kinds: Sequence[str], known: Known) -> str:
    """What was meant: the key of another place, or one like it, of the same place first; or all."""
    if key in kinds:
        return (
            f"; its settings are given one by one, as in --set {key}.KEY=VALUE, and in a file "
            f"stand in the list of stages: - {{kind: {key}, ...}}"
        )
    here = _place(where, known)
    elsewhere = [_below(place, key) for place, keys in known.items() if key in keys]
    if near := difflib.get_close_matches(key, known[here], n=1) if not elsewhere else []:
        return f"; did you mean {near[0]!r}?"
    names = {name for keys in known.values() for name in keys}
    for name in () if elsewhere else difflib.get_close_matches(key, names, n=1):
        elsewhere = [_below(place, name) for place, keys in known.items() if name in keys]
    if elsewhere:
        return f"; did you mean {_one_of(elsewhere)}?"
    there = [*known[here], *(() if here else kinds)]
    return f"; {f'{here} has' if here else 'there are'} {', '.join(there)}"


def _place(where: Sequence[str | int], known: Known) -> str:
    """The deepest place with known keys on the way to a key; the scorer stands for all models."""
    names = [str(part) for part in where if isinstance(part, str)]
    match names:
        case ["stages", *rest]:
            names = rest
        case ["models", _, *rest]:
            names = ["models", "scorer", *rest]
    ways = (".".join(names[:depth]) for depth in range(len(names), 0, -1))
    return next((way for way in ways if way in known), "")


def _below(place: str, key: str) -> str:
    return f"{place}.{key}" if place else key


def _one_of(paths: Sequence[str]) -> str:
    *others, last = paths
    return f"{', '.join(others)} or {last}" if others else last


def _path(location: Sequence[str | int]) -> str:
    """As `--set` takes it: stages by kind, and no tags of unions, which repeat the key."""
    parts = [
        part
        for index, part in enumerate(location)
        if not (
            isinstance(part, int) and location[index + 1 : index + 2] and location[0] == "stages"
        )
        and part not in location[index + 1 : index + 2]
        and part != "[key]"  # pydantic's mark of a key that is none
    ]
    return ".".join(str(part) for part in parts)


def found(location: Sequence[str | int], value: object) -> str:
    """`, found VALUE`; empty where somebody may have put a key or password."""
    name = str(location[-1]) if location else ""
    unsafe = "@?#" if name == "base_url" else "@"
    url = isinstance(value, str) and any(mark in value for mark in unsafe)
    secret = "key" in name or url
    return "" if secret or isinstance(value, (dict, list, BaseModel)) else f", found {value!r}"
