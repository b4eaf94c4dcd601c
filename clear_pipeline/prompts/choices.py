"""Questions that are answered by one of a few words: how such replies are asked for and read."""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from clear_pipeline.llm.base import Choice, Token
from clear_pipeline.schema import JSON, canonical_json

_SPACES = " \t\r\n\u2581\u0120\u010a"
"""White space, also in the letters that tokenizers print for it."""

_EDGES = _SPACES + "()[]{}<>*_`\"'.,:;!\u201c\u201d\u2018\u2019\u300c\u300d\u3010\u3011\u3002"
"""What tokenizers and models put around a choice: "(A", " A", "A)", "**Yes**"."""

_LETTER = re.compile(
    r"\((\w)\)|(?<![\w'])(\w)(?=\s*(?:[)\].:,;*!\"]|$)|\s+[-\u2013\u2014]\s)", re.MULTILINE
)
"""A letter that stands as a mark: "(A)", "A.", "**A**", "A - ", "A" at the end of a line; not "A
dog"."""

_OF_SCALE = re.compile(r"\s*(?:/|\bout\s+of\b)\s*\d+", re.IGNORECASE)

_AFTER_COLON = re.compile(r":[\s*_`\"'(]{0,9}$")
_AFTER_VERB = re.compile(r"\b(?:is|say|says)[\s*_`\"'(]{1,9}$", re.IGNORECASE)
_CLAUSE_ENDS = re.compile(
    r"[ \t*_`\"')\]]*(?:[\n.,;:!?\u2013\u2014]|-\s|$|(?:because|since|as)\b)", re.IGNORECASE
)
"""Behind a word that says all: "the answer is no."; not "there is no error"."""

_BEFORE = 20
"""Characters before a word that are looked at."""

_MARKER = re.compile(r"^\s*(\w)[.)]\s", re.MULTILINE)
"""A line of a list: "1. ", "a) "."""

_OFFERED = re.compile(r"\((\w)\) (?:are you |is )?(?!or\b)([^(),.?]{1,40})")
"""What a question says that a letter stands for: "(A) correct, (B) incorrect"."""

_VALUE = re.compile(r'\{\s*"answer"\s*:\s*"')
"""What stands before the choice in a reply to `choice_schema`."""


def choice_probabilities(
    token: Token, choices: Sequence[str], *, begun: bool = False
) -> dict[str, float]:
    """How much probability the model put on each choice as the next token.

    All variants of a choice count: `A`, ` A`, `(A`, `**A`, `a`, full-width letters.

    Args:
        token: The first generated token with its alternatives.
        choices: The words that may be answered, distinct also without case.
        begun: A token that begins one choice and no other counts for it. Only right where the
            server lets nothing but the choices follow.

    Returns:
        Per choice a probability in [0, 1], not renormalised: the sum is the `choice_mass`, and
        what is missing to 1 went to other tokens.
    """
    seen = list(token.top)
    if token.text not in dict(token.top):
        seen.append((token.text, token.logprob))
    totals = dict.fromkeys(choices, 0.0)
    for text, logprob in seen:
        name = _named(_plain(text).strip(_EDGES).casefold(), choices, begun=begun)
        if name is not None and not math.isnan(logprob):
            totals[name] += math.exp(min(logprob, 0.0))
    return {name: min(total, 1.0) for name, total in totals.items()}


def _named(text: str, choices: Sequence[str], *, begun: bool) -> str | None:
    folded = {choice.casefold(): choice for choice in choices}
    if text in folded or not (begun and text):
        return folded.get(text)
    starts = [choice for name, choice in folded.items() if name.startswith(text)]
    return starts[0] if len(starts) == 1 else None


def _plain(text: str) -> str:
    """Full-width letters and brackets as plain ones."""
    return unicodedata.normalize("NFKC", text)


def _unscaled(text: str) -> str:
    """Plain, and without the ends of scales."""
    return _OF_SCALE.sub("", _plain(text))


def first_visible(choice: Choice) -> Token | None:
    """The first token of the reply, after the reasoning if there is any.

    None where the server gave no log-probabilities for it: none at all, or those of the
    reasoning alone.
    """
    tokens = choice.tokens or ()
    if choice.reasoning is None:
        return next(iter(tokens), None)
    # Some servers list the tokens of the reasoning as well, some those of the text alone.
    ends = [place for place, token in enumerate(tokens) if "</think>" in token.text]
    rest = tokens[ends[-1] + 1 :] if ends else tokens
    first = next((token for token in rest if token.text.strip(_SPACES)), None)
    begins = first is not None and choice.text.lstrip().startswith(first.text.strip(_SPACES))
    return first if begins else None


def offered_words(question: str, choices: Sequence[str]) -> dict[str, str]:
    """The words that the choices of a question stand for, and their choice.

    "(A) correct, or (B) are you not sure?" offers "correct" for A and "not sure" for B.
    """
    found = {words.strip().casefold(): letter for letter, words in _OFFERED.findall(question)}
    return {words: letter for words, letter in found.items() if letter in choices}


def parse_choice(
    text: str, choices: Sequence[str], *, offered: Mapping[str, str] = MappingProxyType({})
) -> str | None:
    """Which choice a reply in words gives.

    The reply starts with the choice ("Yes, because ...", "(B) The sum is ..."), or it names
    exactly one ("I think that the answer is (B)."). A letter counts only where it stands as a
    mark and in the case of the choice, since "a" is a word. A word counts in the case of the
    choice, or at the start, after a colon, or where it ends what "is" or "say" begins: "there is
    no error" says neither Yes nor No. The end of a scale ("2 out of 5") is no choice.

    Args:
        text: The reply.
        choices: The words that may be answered.
        offered: `offered_words` of the question, which count for their choice.

    Returns:
        One of `choices`, or None if the reply gives none or several.
    """
    text = _unscaled(text)
    start = len(text) - len(text.lstrip(_EDGES))
    found = _marks(text, choices, offered)
    named = {choice for _, choice in found}
    if len(named) == 1:
        return named.pop()
    return next((choice for place, choice in found if place <= start), None)


def _marks(text: str, choices: Sequence[str], offered: Mapping[str, str]) -> list[tuple[int, str]]:
    """Where choices are named, letters last."""
    start = len(text) - len(text.lstrip(_EDGES))
    names = {choice.casefold(): choice for choice in choices if len(choice) > 1}
    words = "|".join(sorted(map(re.escape, {*names, *offered}), key=len, reverse=True))
    found = []
    for m in (
        re.finditer(rf"(?<![^\W_])(?:{words})(?![^\W_])", text, re.IGNORECASE) if words else ()
    ):
        said, before = m[0].casefold(), text[max(0, m.start() - _BEFORE) : m.start()]
        ends = _CLAUSE_ENDS.match(text, m.end()) is not None
        begins = m.start() <= start or _AFTER_COLON.search(before) is not None
        spoken = ends and (begins or _AFTER_VERB.search(before) is not None)
        if spoken or (said in names and (begins or m[0] == names[said])):
            found.append((m.start(), names.get(said) or offered[said]))
    letters = ((m.start(), m[1] or m[2]) for m in _LETTER.finditer(text))
    return found + [(place, letter) for place, letter in letters if letter in choices]


def parse_verdict(
    text: str, choices: Sequence[str], *, offered: Mapping[str, str] = MappingProxyType({})
) -> str | None:
    """`parse_choice` for a reply that argues: before its choice or behind it.

    A choice that the reply starts with and that stands alone there ("No, since ...") counts, unless
    it is the number of a list; else that of the last line; else that of all.
    """
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        return None
    return (
        _first_word(lines, choices, offered)
        or parse_choice(lines[-1], choices, offered=offered)
        or parse_choice(text, choices, offered=offered)
    )


def _first_word(
    lines: Sequence[str], choices: Sequence[str], offered: Mapping[str, str]
) -> str | None:
    first = _unscaled(lines[0])
    start = len(first) - len(first.lstrip(_EDGES))
    for place, choice in _marks(first, choices, offered):
        end = place + len(choice)
        if place <= start and (len(choice) == 1 or _CLAUSE_ENDS.match(first, end)):
            listed = {m[1] for line in lines if (m := _MARKER.match(line))}
            return None if len(choice) == 1 and len(listed) > 1 else choice
    return None


def choice_schema(choices: Sequence[str]) -> str:
    """A `response_format` that leaves nothing but one of the choices, as canonical JSON.

    In OpenAI's form, which vLLM, SGLang, Ollama and others take as well.
    """
    schema: dict[str, JSON] = {
        "type": "object",
        "properties": {"answer": {"type": "string", "enum": list(choices)}},
        "required": ["answer"],
        "additionalProperties": False,
    }
    wrapped: dict[str, JSON] = {"name": "answer", "strict": True, "schema": schema}
    return canonical_json({"type": "json_schema", "json_schema": wrapped})


def schema_probabilities(choice: Choice, choices: Sequence[str]) -> dict[str, float] | None:
    """Read a reply to `choice_schema`: the token where the choices part, among its alternatives.

    Returns:
        Per choice a probability in [0, 1], together at most 1; 1 and 0s where the server gave no
        log-probabilities. None if the reply is no such JSON.
    """
    opening = _VALUE.match(choice.text.lstrip())
    if opening is None:
        return None
    start = len(choice.text) - len(choice.text.lstrip()) + opening.end()
    said = ""
    for token in choice.tokens or ():
        said += token.text
        if len(said) > start and choice.text.startswith(said):
            found = choice_probabilities(token, choices, begun=True)
            return found if sum(found.values()) > 0 else None
    try:
        answer = json.loads(choice.text)["answer"]
    except (ValueError, TypeError, KeyError):
        return None
    return {name: float(name == answer) for name in choices} if answer in choices else None
