"""Where a text is code or markup: no sentence ends there, and its words speak to nobody."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

FENCE: Final = "```"

_PROSE_FENCES: Final = {"", "text", "txt", "plain", "plaintext", "markdown", "md"}
"""What stands behind the marks of a fence that may hold prose."""

_FIRM = re.compile(
    r"""\s*(?:
    (?:async\ +)?(?:def|class)\ +\w.*:
    |(?:for\ .+\ in\ .+|(?:while|if|elif|with|except)\ .+|else|try|except|finally):
    |import\ +[\w.]+(?:\ +as\ +\w+)?|from\ +[\w.]+\ +import\ .+
    |\#(?:include|define)\ .+|@\w[\w.]*(?:\(.*\))?
    |(?:export\ +|pub\ +|async\ +)*(?:function|func|fn)\ .*\(.*
    |(?:const|let|var|val)\ +\w.*=.+
    |[A-Za-z_][\w.:]*\(.*\)
    |(?=.*(?:\w\(|[=<>]|\+\+|--|\b(?:return|break|continue|throw|package|using|import)\b)).*;
    |\}?[^{}]*[)\w=>]\ *\{|(?=.*[{}\[\]])[{}\[\]();,\ ]+
    |["'][\w.\ -]+["']\ *:\ *(?:["'\[{\d-]|true|false|null).*
    |(?:>>>|SELECT|INSERT\ INTO|DELETE\ FROM|CREATE\ (?:TABLE|VIEW|INDEX)|ALTER\ TABLE)\ .+
    )(?:\s+(?:\#|//).*)?\s*""",
    re.VERBOSE,
)
"""A line that is code whatever stands around it."""

_LONGEST = 1000
"""Characters of a line that is looked at; what is longer counts as prose."""

_SOFT = re.compile(
    r"[ \t]+\S.*|[A-Za-z_][\w.\[\]'\"]*(?:, *\w+){0,9} *(?:[-+*/|&%:]?=|<-) *\S.*|[A-Z]{4,}\b.*"
)
"""An indented line, an assignment or a clause of SQL: code beside a firm line, and else a list, a
formula or a cry."""

_COMMENT = re.compile(r"\s*(?:#(?!include|define)|//|--\s|/\*|\*|<!--)")
_PROSE = re.compile(r"[\"'(\[*_]{0,9}[^\W\d_][^;{}=<>\\]*")
_PROSE_WORDS = 4
"""A line that begins with a word, without indentation, and has so many more is prose."""

_TAG = re.compile(r"\s*<(?:[?!]\w|(/?)([A-Za-z][\w:.-]*)(?=[\s>/]))")
_OURS: Final = {"response", "user", "assistant", "system", "turn"}
"""Tags that our prompts have, too: no markup begins with one, or with one closes what is open."""


class Spans:
    """Disjoint stretches of a text in order; each a start, and an end that is no part of it."""

    def __init__(self, spans: Iterable[tuple[int, int]]) -> None:
        self._spans = list(spans)

    def holds(self, place: int) -> bool:
        """Whether `place` is in one of them."""
        return place < self._last(place)[1]

    def divides(self, place: int) -> bool:
        """Whether a cut at `place` would part one of them."""
        start, end = self._last(place)
        return start < place < end

    def _last(self, place: int) -> tuple[int, int]:
        n = bisect_right(self._spans, place, key=lambda span: span[0])
        return self._spans[n - 1] if n else (0, 0)


@dataclass(frozen=True, slots=True)
class Code:
    """The code and markup of a text.

    Attributes:
        blocks: Stretches that are not to be cut.
        lines: Lines in them that speak to nobody: all but comments and prose.
        quoted: Of these the ones in which a tag is a tag and no more: in fences and in markup.
    """

    blocks: Spans
    lines: Spans
    quoted: Spans


NO_CODE: Final = Code(Spans(()), Spans(()), Spans(()))


@dataclass(frozen=True, slots=True)
class _Line:
    text: str
    start: int
    end: int

    @property
    def blank(self) -> bool:
        return not self.text.strip()


def code_of(text: str) -> Code:
    """Fences that hold code, and code without a fence that has two lines or more.

    A fence holds code if it names a language or has one line that is code by itself. Markup
    without a fence counts where the text begins with it or a colon announces it.
    """
    if "\n" not in text and "<" not in text:
        return NO_CODE
    lines, begun = [], 0
    for part in text.split("\n"):
        indent = len(part) - len(part.lstrip())
        lines.append(_Line(part, begun + indent, begun + len(part)))
        begun += len(part) + 1
    fences = _fences(lines)
    blocks, place = [], 0
    while place < len(lines):
        if place in fences:
            end, held, quoted = fences[place], True, True
        elif end := _markup_end(lines, place):
            held, quoted = True, True
        else:
            end, held = _unfenced(lines, place)
            quoted = False
        if held:
            blocks.append((lines[place:end], quoted))
        place = end
    silent = [(line, quoted) for block, quoted in blocks for line in block if not _may_speak(line)]
    return Code(
        Spans((block[0].start, block[-1].end) for block, _ in blocks),
        Spans((line.start, line.end) for line, _ in silent),
        Spans((line.start, line.end) for line, quoted in silent if quoted),
    )


def _may_speak(line: _Line) -> bool:
    if _COMMENT.match(line.text):
        return True
    prose = _PROSE.fullmatch(line.text) is not None and len(line.text.split()) >= _PROSE_WORDS
    return prose and not _is_firm(line.text)


def _is_firm(line: str) -> bool:
    return len(line) <= _LONGEST and _FIRM.fullmatch(line) is not None


def _fences(lines: Sequence[_Line]) -> dict[int, int]:
    """Of each fence of code the place of its first line and the place behind its last."""
    marks = [n for n, line in enumerate(lines) if line.text.lstrip().startswith(FENCE)]
    found = {}
    for start, end in zip(marks[::2], marks[1::2], strict=False):
        named = lines[start].text.strip().strip("`").strip().lower() not in _PROSE_FENCES
        if named or any(_is_firm(line.text) or _tag(line) for line in lines[start + 1 : end]):
            found[start] = end + 1
    return found


def _tag(line: _Line) -> bool:
    """Whether it begins with a tag that is none of ours."""
    tag = _TAG.match(line.text)
    return tag is not None and (tag[2] or "").lower() not in _OURS


def _markup_end(lines: Sequence[_Line], place: int) -> int:
    """Behind the markup that begins at `place`; 0 if none does."""
    if not _tag(lines[place]):
        return 0
    before = place - 1
    while before >= 0 and lines[before].blank:
        before -= 1
    if before >= 0 and not lines[before].text.rstrip().endswith(":"):
        return 0
    end, opened = place + 1, set[str]()
    for n in range(place, len(lines)):
        line = lines[n]
        tag = _TAG.match(line.text)
        name = (tag[2] or "").lower() if tag else ""
        if tag and tag[1] and name in _OURS - opened:
            break
        if not (line.blank or tag or line.text[0] in " \t" or _COMMENT.match(line.text)):
            break
        opened.add(name)
        end = end if line.blank else n + 1
    return end


def _unfenced(lines: Sequence[_Line], place: int) -> tuple[int, bool]:
    """Where the stretch that begins at `place` ends, and whether it is code.

    A paragraph without a firm line belongs to it where another follows that has one, or where it
    is indented, as the rest of a function is.
    """
    end, seen, firm = place, place + 1, False
    if lines[place].blank:
        return seen, False
    for n in range(place, len(lines)):
        text = lines[n].text
        if lines[n].blank:
            continue
        if _is_firm(text):
            end, firm = n + 1, True
        elif not (_SOFT.fullmatch(text) or _COMMENT.match(text)):
            break
        elif end == n or text[0] in " \t":
            end = n + 1
        seen = n + 1
    if firm and sum(not line.blank for line in lines[place:end]) > 1:
        return end, True
    return seen, False
