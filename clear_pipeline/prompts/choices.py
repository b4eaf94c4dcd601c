"""Questions that are answered by one of a few words: the form of the reply, and its parsers."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from clear_pipeline.llm.base import Token

_EDGES = " \t\r\n\u2581\u0120()[]{}<>*_`\"'.,:;!"
"""What tokenizers and models put around a choice: "(A", " A", "A)", "**Yes**"."""


def _bare(text: str) -> str:
    return text.strip(_EDGES).casefold()


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
        name = names.get(_bare(text))
        if name is not None and not math.isnan(logprob):
            totals[name] += math.exp(min(logprob, 0.0))
    return {name: min(total, 1.0) for name, total in totals.items()}


def parse_choice(text: str, choices: Sequence[str]) -> str | None:
    """Which choice a reply in words gives.

    The reply is the choice, starts with it ("B. The answer ..."), or names exactly one
    ("The answer is (B)"). A single-letter choice inside a sentence counts in upper case only,
    since "a" is a word.

    Returns:
        One of `choices`, or None if the reply gives none or several.
    """
    names = {choice.casefold(): choice for choice in choices}
    words = re.findall(r"[^\W_]+", text)
    if not words:
        return None
    first = names.get(words[0].casefold())
    if first is not None and (len(first) > 1 or words[0] == first):
        return first
    if len(words) == 1:
        return first
    named = {
        choice
        for word in words
        if (choice := names.get(word.casefold())) and (len(choice) > 1 or word == choice)
    }
    return named.pop() if len(named) == 1 else None
