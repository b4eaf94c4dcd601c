"""JSON by value: numbers as numbers, keys in any order, lists in theirs."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from clear_pipeline.formats.base import RowError
from clear_pipeline.formats.strict_json import parse
from clear_pipeline.schema import JSON
from clear_pipeline.scoring.similarity import canonical_text

_FENCED = re.compile(r"```(?:json)?[ \t]*\n(.*)\n?```", re.DOTALL | re.IGNORECASE)


def same_structure(first: str, second: str) -> bool | None:
    """Whether two texts are equal JSON objects or lists; None if one is neither.

    Strings in them are compared by their words. `1` is `1.0`, but neither "1" nor true.
    """
    left, right = read_structure(first), read_structure(second)
    if left is None or right is None:
        return None
    return same_json(left, right, text=canonical_text)


def read_structure(text: str) -> JSON:
    """The JSON object or list that `text` is, in a code block or not; else None."""
    bare = text.strip()
    if (block := _FENCED.fullmatch(bare)) is not None:
        bare = block[1].strip()
    if not bare.startswith(("{", "[")):
        return None
    try:
        return parse(bare)
    except RowError:
        return None


def same_json(left: JSON, right: JSON, *, text: Callable[[str], str]) -> bool:
    """Whether two values are equal, with strings compared in the form that `text` gives them."""
    match left, right:
        case str(), str():
            return text(left) == text(right)
        case Mapping(), Mapping():
            return left.keys() == right.keys() and all(
                same_json(value, right[key], text=text) for key, value in left.items()
            )
        case Sequence(), Sequence() if not isinstance(left, str) and not isinstance(right, str):
            return len(left) == len(right) and all(
                same_json(one, two, text=text) for one, two in zip(left, right, strict=True)
            )
    # Python holds true and 1 for equal.
    return isinstance(left, bool) == isinstance(right, bool) and left == right
