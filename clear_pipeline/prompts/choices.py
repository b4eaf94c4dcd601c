"""Questions that are answered by one of a few words: the parsers of such replies."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from clear_pipeline.llm.base import Token

_EDGES = " \t\r\n\u2581\u0120()[]{}<>*_`\"'.,:;!"
"""What tokenizers and models put around a choice: "(A", " A", "A)", "**Yes**"."""

_LETTER = re.compile(r"\((\w)\)|(?<![\w'])(\w)(?=\s*(?:[)\].:,;*!\"]|$))", re.MULTILINE)
"""A letter that stands as a mark: "(A)", "A.", "**A**", "A" at the end of a line; not "A dog"."""

_WORD = re.compile(r"[^\W_]+")


def choice_probabilities(token: Token, choices: Sequence[str]) -> dict[str, float]:
    """How much probability the model put on each choice as the next token.

    All variants of a choice count: `A`, ` A`, `(A`, `a`.

    Args:
        token: The first generated token with its alternatives.
        choices: The words that may be answered, distinct also without case.

    Returns:
        Per choice a probability in [0, 1], not renormalised: the sum is the `choice_mass`, and
        what is missing to 1 went to other tokens.
    """
    seen = dict(token.top)
    seen.setdefault(token.text, token.logprob)
    totals = dict.fromkeys(choices, 0.0)
    names = {choice.casefold(): choice for choice in choices}
    for text, logprob in seen.items():
        name = names.get(text.strip(_EDGES).casefold())
        if name is not None and not math.isnan(logprob):
            totals[name] += math.exp(min(logprob, 0.0))
    return {name: min(total, 1.0) for name, total in totals.items()}


def parse_choice(text: str, choices: Sequence[str]) -> str | None:
    """Which choice a reply in words gives.

    The reply starts with the choice ("Yes, because ...", "(B) The sum is ..."), or it names
    exactly one ("I think that the answer is (B)."). A letter counts only where it stands as a
    mark and in the case of the choice, since "a" is a word.

    Returns:
        One of `choices`, or None if the reply gives none or several.
    """
    names = {choice.casefold(): choice for choice in choices if len(choice) > 1}
    letters = {choice for choice in choices if len(choice) == 1}
    found = [(m.start(), names.get(m[0].casefold())) for m in _WORD.finditer(text)]
    found += [
        (m.start(), mark) for m in _LETTER.finditer(text) if (mark := m[1] or m[2]) in letters
    ]
    named = {choice for _, choice in found if choice is not None}
    if len(named) == 1:
        return named.pop()
    start = len(text) - len(text.lstrip(_EDGES))
    for position, choice in found:
        if choice is not None and position <= start:
            return choice
    return None
