"""What a new response changed, as a unified diff that a table can hold."""

from __future__ import annotations

import difflib
from typing import Final

LONGEST: Final = 8_000
"""Characters of a diff."""
_MOST_COMPARED: Final = 200_000
"""Characters of both texts: comparing lines takes time that grows with their square."""


def unified_diff(before: str, after: str) -> str:
    """The lines of `difflib.unified_diff` between the two, without a final newline.

    At most `LONGEST` characters, cut after a whole line where there is one; a last line says how
    many are missing. Of texts that are too long to be compared it says that alone.
    """
    if len(before) + len(after) > _MOST_COMPARED:
        return f"\\ {len(before):,} and {len(after):,} characters: too long for a diff"
    lines = difflib.unified_diff(
        before.split("\n"), after.split("\n"), "original", "new", lineterm=""
    )
    text = "\n".join(lines)
    if len(text) <= LONGEST:
        return text
    end = text.rfind("\n", 0, LONGEST + 1)
    end = end if end > 0 else LONGEST
    return f"{text[:end]}\n\\ {len(text) - end:,} more characters of this diff are left out"
