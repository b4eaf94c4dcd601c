"""Dataset text made safe to look at: nothing hides, nothing reaches the terminal as a command."""

from __future__ import annotations

import re

_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters: ANSI escapes begin with one
    "\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)
"""Characters that show nothing themselves, or turn the direction of what follows. Tab, newline
and the joiners that emoji and Persian need are not among them."""

ELLIPSIS = "…"


def visible(text: str) -> str:
    r"""Write every invisible or direction-turning character as its escape, such as `\x1b`.

    Carriage returns before a newline are dropped: they are how a file ends its lines.
    """
    return _UNSEEN.sub(_escape, text.replace("\r\n", "\n"))


def _escape(match: re.Match[str]) -> str:
    return ascii(match.group())[1:-1]


def cut(text: str, limit: int) -> str:
    """The first `limit` characters (>= 1) of a text; what is missing is stated with its length."""
    if len(text) <= limit:
        return text
    return f"{text[:limit]}{ELLIPSIS} [{len(text) - limit:,} more characters]"


def one_line(text: str, width: int) -> str:
    """Visible text on one line of at most `width` characters (>= 1)."""
    # Four times the width leaves enough after runs of white space have shrunk, at a bounded cost.
    line = " ".join(visible(text[: 4 * width + 4]).split())
    if len(line) <= width and len(text) <= 4 * width + 4:
        return line
    return line[: width - 1].rstrip() + ELLIPSIS


def number(value: float | None) -> str:
    """Three digits, or a dash where there is none."""
    return "-" if value is None else f"{value:.3f}"
