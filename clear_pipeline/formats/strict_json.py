"""JSON as the standard has it, safe on hostile text: every departure is a `RowError`."""

from __future__ import annotations

import json
import math
import re

from clear_pipeline.formats.base import RowError
from clear_pipeline.schema import JSON

MAX_DEPTH = 100
"""Nesting that no training row needs; deeper text is an attack on a recursive parser."""

# Possessive: a string is skipped in one pass, whatever stands in it.
_STRUCTURE = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[{]|[\]}]', re.DOTALL)


def parse(text: str, *, max_depth: int = MAX_DEPTH) -> JSON:
    """Read one JSON value.

    Args:
        text: The whole text of the value.
        max_depth: How many arrays and objects may stand in each other, >= 1.

    Raises:
        RowError: Broken JSON, NaN or Infinity, a number out of range, a key twice in one object,
            or nesting beyond `max_depth` (found before anything is parsed).
    """
    if _depth(text, max_depth) > max_depth:
        raise RowError(f"nested deeper than {max_depth} levels")
    try:
        value: JSON = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        said = error.msg.removesuffix(" at")
        raise RowError(f"broken JSON: {said} at character {error.pos + 1}") from None
    except ValueError:  # int() refuses thousands of digits
        raise RowError("a number has too many digits") from None
    return value


def _depth(text: str, enough: int) -> int:
    if text.count("[") + text.count("{") <= enough:
        return 0
    depth = deepest = 0
    for token in _STRUCTURE.finditer(text):
        first = text[token.start()]
        if first in "[{":
            depth += 1
            deepest = max(deepest, depth)
            if deepest > enough:
                break
        elif first in "]}":
            depth -= 1
    return deepest


def _unique_keys(pairs: list[tuple[str, JSON]]) -> dict[str, JSON]:
    record = dict(pairs)
    if len(record) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise RowError(f"key {twice[:40]!r} stands twice in one object")
    return record


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise RowError(f"number {digits[:40]} is out of range")
    return number


def _no_constant(name: str) -> JSON:
    raise RowError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique_keys, parse_float=_finite, parse_constant=_no_constant
)
