"""Responses that are JSON: told apart from prose, and changed inside without losing their form."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Final

_STRING: Final = re.compile(r'"(?:[^"\\]|\\.)*"(\s*:)?')
"""A string of a JSON text; one with a colon after it is a key."""


def is_json(text: str) -> bool:
    """Whether a text is a JSON object or list. A bare number or word is prose."""
    if not text.lstrip().startswith(("{", "[")):
        return False
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def change_content(response: str, change: Callable[[str], str | None]) -> str | None:
    """Apply a change to what a response says: all of it, or the longest string if it is JSON.

    The rest of a JSON text stays as it is written. None where the change has nothing to work on.
    """
    if not is_json(response):
        return change(response)
    values = (match for match in _STRING.finditer(response) if match[1] is None)
    found = max(values, key=lambda match: len(match.group()), default=None)
    changed = None if found is None else change(json.loads(found.group(), strict=False))
    if found is None or changed is None:
        return None
    written = json.dumps(changed, ensure_ascii=response.isascii())
    return response[: found.start()] + written + response[found.end() :]
