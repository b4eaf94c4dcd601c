"""Comparing two answers without a model."""

from __future__ import annotations

import json
import re
from collections import Counter
from decimal import Decimal, InvalidOperation

from clear_pipeline.prompts.answer import final_answer
from clear_pipeline.schema import JSON, canonical_json, normalise

_ARTICLES = frozenset({"a", "an", "the"})
_WORD = re.compile(
    r"\d[\d,]*(?:\.\d+)?"  # a number, with thousands and decimals
    r"|[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]"  # scripts without spaces: one character each
    r"|[^\W\d_]+"
)
_NUMBER = re.compile(r"[-+]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d{1,3})?", re.IGNORECASE)
_AROUND_NUMBERS = " \t\n$€£¥%.°"


def words(text: str) -> list[str]:
    """The words of `text`: no case, punctuation or articles; numbers by value."""
    found = (_number(word) or word for word in _WORD.findall(normalise(text).casefold()))
    return [word for word in found if word not in _ARTICLES]


def canonical_answer(text: str) -> str:
    """A form that is equal for answers that say the same.

    Case, punctuation, articles and white space do not count; a number is its value ("$1,560.00"
    is "1560"); JSON is its value, whatever the order of its keys.
    """
    bare = normalise(text).casefold()
    value = _json(text)
    if value is not None:
        return canonical_json(_leaves(value))
    number = _number(bare.strip(_AROUND_NUMBERS))
    if number is not None:
        return number
    return " ".join(words(text)) or bare


def exact_match(first: str, second: str) -> bool:
    """Whether two responses give the same final answer, after normalisation."""
    return canonical_answer(final_answer(first)) == canonical_answer(final_answer(second))


def token_f1(first: str, second: str) -> float:
    """Overlap of the words of two texts, 0 (none) to 1 (the same words); symmetric.

    Harmonic mean of precision and recall over bags of words, as SQuAD scores answers. Texts
    without any word are compared as they are.
    """
    left, right = Counter(words(first)), Counter(words(second))
    total = left.total() + right.total()
    if total == 0:
        return float(normalise(first) == normalise(second))
    return 2 * (left & right).total() / total


def _number(text: str) -> str | None:
    if not _NUMBER.fullmatch(text):
        return None
    try:
        value = Decimal(text.replace(",", ""))
    except InvalidOperation:
        return None
    return format(value.normalize(), "f") if value else "0"


def _json(text: str) -> JSON:
    """The JSON object or list that `text` is, else None: bare words and numbers are text."""
    if not text.lstrip().startswith(("{", "[")):
        return None
    try:
        value: JSON = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value


def _leaves(value: JSON) -> JSON:
    if isinstance(value, dict):
        return {key: _leaves(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_leaves(item) for item in value]
    return canonical_answer(value) if isinstance(value, str) else value
