"""A short answer without its typography: Markdown, LaTeX, white space, a full stop."""

from __future__ import annotations

import re
from typing import Final

from clear_pipeline.schema import normalise

MAX_SHORT: Final = 120
"""Characters of the longest text that is read as one number, date or label."""

_REWRITES: Final = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"\\(?:text|mathrm|mathbf|textbf|operatorname)\s*\{([^{}]*)\}", r"\1"),
        (r"\\[dt]?frac\s*\{([^{}]+)\}\s*\{([^{}]+)\}", r" \1/\2"),
        (r"\^\s*(?:\\circ|\{\s*\\circ\s*\})|\\degree", "\N{DEGREE SIGN}"),
        (r"\{,\}", ","),
        (r"\\(?:left|right)(?![A-Za-z])|\\[,!;:()\[\]]|\$\$|[*`]|(?<!\w)_+|_+(?!\w)", ""),
        (r"^\$([^$]*)\$(?=\.?$)", r"\1"),
        (r"\\([$%&#])", r"\1"),
        (r"\\(?:times|cdot)(?![A-Za-z])|\N{MULTIPLICATION SIGN}", "*"),
        (r"[\N{MINUS SIGN}\N{EN DASH}]", "-"),
    )
)


_END: Final = re.compile(r"(?:[.;,:\s]|(?<!\d)!)+$")
"""What ends a sentence; "5!" is a factorial."""


def plain(text: str) -> str:
    """`text` in one line, without marks of emphasis and mathematics; "" if it is too long."""
    if len(text) > MAX_SHORT:
        return ""
    for pattern, replacement in _REWRITES:
        text = pattern.sub(replacement, text.strip())
    return _END.sub("", normalise(text))
