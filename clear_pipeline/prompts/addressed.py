"""What in a response speaks to whoever judges it, and not to whoever asked.

A row can be written to talk a judge into a good verdict: "(A) Correct" at its end, "ignore the
above", a faked end of the response with a system turn after it, words in invisible characters, the
same praise a hundred times (Greshake et al. 2023, arXiv 2302.12173; Shi et al. 2024, arXiv
2403.17710). The rules here know some of it by its words, and may find too much: `views` judges the
rest of the response besides the whole, and the lower verdict counts.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from typing import Final

from clear_pipeline.prompts.code_text import Code, code_of
from clear_pipeline.prompts.judge_talk import (
    BREAK,
    INVITED,
    OUR_TAG,
    TURN_MARK,
    VERDICT_ALONE,
    cheers,
    speaks_to_a_judge,
)

_END = re.compile(
    r"""(?:\.(?:(?<=\w\w\w\.)
    (?<!\b(?:Gen|Mrs|Rev|Hon|Sgt|Col|Gov|Sen|Maj|Adm|Vol|Fig|Jan|Feb|Mar|Apr|Aug|Oct|Nov|Dec)\.)
    (?<!\b(?:Prof|Capt|Pres|Sept)\.)|(?<=\d\.))|[!?])["')\]]*+\s++(?![a-z])
    |[\u3002\uff01\uff1f]["')\]\u201d\u2019\u300d\uff09]*+\s*+
    |\n\s*+""",
    re.VERBOSE,
)
"""The end of a line or a sentence, with the white space that follows; "U.S. Army", "e.g. by foot"
and "Gen. Lee" are no two sentences."""

_TURNED = re.compile("[\u202a-\u202e\u2066-\u2069]")
"""Characters that turn the direction of text; there is nothing to turn without letters of both."""

_UNSEEN = re.compile(
    "[\U000e0000-\U000e007f\U000e0100-\U000e01ef]"
    "|(?<=[A-Za-z .,])[\u00ad\u200b-\u200d\u2060-\u2064\ufe00-\ufe0f\ufeff]+(?=[A-Za-z .,])"
)
"""Characters that hide words; a joiner between Latin letters joins nothing."""

_LOOKALIKES = re.compile(
    "[A-Za-z][\u0400-\u04ff]|[\u0400-\u04ff][A-Za-z]"
    "|[A-Za-z]{2}[\u0370-\u03ff]|[\u0370-\u03ff][A-Za-z]{2}"
)
"""Cyrillic or Greek letters within Latin words; a formula has single Greek ones."""

_LEET: Final = str.maketrans("013457@$!", "oieastasi")

_FEW = 2
"""So many such characters may stand in a sentence by mistake."""
_OFTEN = 4
"""So often stands no sentence in a paragraph that is written for people; a short one may twice as
often. A refrain comes again in another paragraph."""
_SHORT = 15


@dataclass(frozen=True, slots=True)
class Addressed:
    """A response in two.

    Attributes:
        text: What speaks to a judge, its pieces joined by line breaks.
        rest: The response without it; never empty.
    """

    text: str
    rest: str


def addressed(response: str, request: str, *, code: Code | None = None) -> Addressed | None:
    """What in a response may be meant for its judge; None if nothing is, or nothing else is there.

    A paragraph of which one sentence speaks to a judge is set aside as a whole, unless nothing else
    would be left.

    Args:
        response: The text that is to be judged.
        request: What it answers. A request that names verdicts ("yes or no?") is answered by one.
        code: `code_of` the response, where the caller has it.
    """
    code = code or code_of(response)
    end = _false_end(response, code)
    pieces = pieces_of(response[:end])
    plain = [_plain(piece) for piece in pieces]
    paragraphs = _paragraphs(pieces)
    often = Counter(zip(paragraphs, plain, strict=True))
    invited = cache(lambda: INVITED.search(_plain(request)) is not None)
    starts = accumulate(map(len, pieces), initial=0)
    silent = [code.lines.holds(start) for start, _ in zip(starts, pieces, strict=False)]
    aside = [
        _hides(piece)
        or (not quiet and (_speaks(seen) or (n > 0 and _judges(seen) and not invited())))
        or (not quiet and _is_padding(seen, often[paragraph, seen]))
        for n, (piece, seen, quiet, paragraph) in enumerate(
            zip(pieces, plain, silent, paragraphs, strict=True)
        )
    ]
    spoken = {paragraph for paragraph, out in zip(paragraphs, aside, strict=True) if out}
    with_neighbours = [
        out or (paragraph in spoken and not quiet)
        for out, paragraph, quiet in zip(aside, paragraphs, silent, strict=True)
    ]
    tail = response[end:]
    return _divided(pieces, with_neighbours, tail) or _divided(pieces, aside, tail)


def _false_end(response: str, code: Code) -> int:
    """Where the response pretends to end; its length if nowhere."""
    ends = [found.start() for found in BREAK.finditer(response)]
    ends += [
        found.start()
        for found in OUR_TAG.finditer(response)
        if not code.quoted.holds(found.end() - len(found[0].lstrip()))
    ]
    opened = 0
    for mark in TURN_MARK.finditer(response):  # HTML strikes out between two of these
        opened += -1 if "/" in mark[0] else 1
        if opened < 0:
            ends.append(mark.start())
            break
    return min(ends, default=len(response))


def _divided(pieces: Sequence[str], aside: Sequence[bool], tail: str) -> Addressed | None:
    found = [
        piece.strip() for piece, out in zip([*pieces, tail], [*aside, True], strict=True) if out
    ]
    rest = "".join(piece for piece, out in zip(pieces, aside, strict=True) if not out).strip()
    text = "\n".join(filter(None, found))
    return Addressed(text, rest) if text and rest else None


def _paragraphs(pieces: Sequence[str]) -> list[int]:
    """The number of the paragraph that each piece stands in."""
    return [0, *accumulate(int(piece.count("\n") > 1) for piece in pieces)][: len(pieces)]


def pieces_of(text: str) -> list[str]:
    """Sentences and lines; joined they are the text."""
    ends = [*(found.end() for found in _END.finditer(text)), len(text)]
    starts = [0, *ends[:-1]]
    return [text[a:b] for a, b in zip(starts, ends, strict=True) if a < b]


def _plain(text: str) -> str:
    """As a reader sees it, without accents, in small letters on one line."""
    seen = text
    if not text.isascii():  # ASCII has neither accents nor what is not seen
        apart = unicodedata.normalize("NFKD", text)
        seen = "".join(c for c in apart if unicodedata.category(c) not in {"Cf", "Mn"})
    return " ".join(seen.casefold().split())


def _speaks(seen: str) -> bool:
    """Whether a sentence is meant for a judge, whatever was asked."""
    return cheers(seen) or any(map(speaks_to_a_judge, {seen, seen.translate(_LEET)}))


def _judges(seen: str) -> bool:
    """Whether a sentence is a verdict and nothing else, which may be what was asked for."""
    return VERDICT_ALONE.fullmatch(seen) is not None


def _hides(piece: str) -> bool:
    """Whether words stand there that a reader does not see, or not as they are."""
    if piece.isascii():
        return False
    if _TURNED.search(piece) and not any(
        unicodedata.bidirectional(c) in {"R", "AL"} for c in piece
    ):
        return True
    return any(len(found.findall(piece)) > _FEW for found in (_UNSEEN, _LOOKALIKES))


def _is_padding(seen: str, times: int) -> bool:
    enough = _OFTEN if len(seen) >= _SHORT else 2 * _OFTEN
    return times >= enough and any(c.isalpha() for c in seen)
