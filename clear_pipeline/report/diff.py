"""Which words a new response changed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import NamedTuple

_WORDS = re.compile(r"\s+|\w+|[^\w\s]")


class Segment(NamedTuple):
    """A stretch of text, and whether the other side lacks it."""

    text: str
    changed: bool


def word_diff(before: str, after: str) -> tuple[list[Segment], list[Segment]]:
    """Split both texts into stretches that are common and stretches that are not.

    The segments of each side join to its text. Where the texts have little in common (a quarter of
    the words or less), each side is one changed segment: islands of shared "the" help nobody.
    """
    old, new = _WORDS.findall(before), _WORDS.findall(after)
    matcher = SequenceMatcher(None, old, new, autojunk=True)
    if matcher.quick_ratio() <= _UNRELATED or matcher.ratio() <= _UNRELATED:
        return _whole(before), _whole(after)
    left: list[Segment] = []
    right: list[Segment] = []
    for tag, i, j, k, m in matcher.get_opcodes():
        _add(left, old[i:j], changed=tag != "equal")
        _add(right, new[k:m], changed=tag != "equal")
    return left, right


_UNRELATED = 0.25


def _whole(text: str) -> list[Segment]:
    return [Segment(text, changed=True)] if text else []


def _add(segments: list[Segment], words: Sequence[str], *, changed: bool) -> None:
    if words:
        segments.append(Segment("".join(words), changed=changed))
