"""The kinds of answers in the order in which they are tried, and text for all the others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

from clear_pipeline.prompts.answer import final_answer
from clear_pipeline.scoring.answers.code import same_code
from clear_pipeline.scoring.answers.dates import same_date
from clear_pipeline.scoring.answers.labels import same_label
from clear_pipeline.scoring.answers.quantities import same_quantity
from clear_pipeline.scoring.answers.structures import same_structure
from clear_pipeline.scoring.similarity import canonical_text

Kind: TypeAlias = Callable[[str, str], bool | None]
"""Compares two texts; None if not both are of the kind. Symmetric, and never raises."""

KINDS: Final[tuple[Kind, ...]] = (
    same_date,
    same_quantity,
    same_label,
    same_structure,
    same_code,
)
"""Most specific first: the first kind that both texts are of decides."""


_VALUES: Final[tuple[Kind, ...]] = (same_date, same_quantity, same_label, same_structure)


def is_value(answer: str) -> bool:
    """Whether an answer is a date, a number, a letter or yes or no, or JSON, and no other words.

    Two of these say the same or do not; two texts in other words seldom say quite the same.
    """
    return any(same(answer, answer) is not None for same in _VALUES)


def exact_match(first: str, second: str) -> bool:
    """Whether two responses give the same final answer; the ways to it do not count.

    Symmetric, true for equal texts, and defined for every text.
    """
    return same_answer(final_answer(first), final_answer(second))


def same_answer(first: str, second: str) -> bool:
    """Whether two answers say the same.

    Numbers with their units, dates, letters of multiple choice, yes and no, JSON and code are
    compared by value where both texts are of the kind. All others say the same if they have the
    same words: case, punctuation, articles and white space do not count.
    """
    if first == second:
        return True
    for same in KINDS:
        verdict = same(first, second)
        if verdict is not None:
            return verdict
    return canonical_text(first) == canonical_text(second)
