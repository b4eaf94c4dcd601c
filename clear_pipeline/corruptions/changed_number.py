"""A changed number: the kind of error that only a reader who calculates or knows will find."""

from __future__ import annotations

import re
from random import Random
from typing import Final

from clear_pipeline.corruptions.base import Corruption
from clear_pipeline.corruptions.sample import Sample
from clear_pipeline.schema import Example

_DIGITS: Final = (
    r"(?<![\w.,])"
    r"(?!^[0-9]+[.)]\s)"  # the number of a list item
    r"(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]{1,18})(?:\.[0-9]{1,6})?(?![0-9])"
)
_WORDS: Final = (
    "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
)  # fmt: skip
_NUMBER: Final = re.compile(rf"{_DIGITS}|\b(?:{'|'.join(_WORDS)})\b", re.IGNORECASE | re.MULTILINE)


def _change(example: Example, _sample: Sample, rng: Random) -> str | None:
    """One number becomes another, wherever it stands in the response."""
    found = sorted({match.group() for match in _NUMBER.finditer(example.response)})
    if not found:
        return None
    old = rng.choice(found)
    new = _other(old, rng)
    return _NUMBER.sub(lambda m: new if m.group() == old else m.group(), example.response)


def _other(number: str, rng: Random) -> str:
    if number.lower() in _WORDS:
        word = rng.choice([word for word in _WORDS if word != number.lower()])
        return word.capitalize() if number[0].isupper() else word
    digits = re.sub("[.,]", "", number)
    changed = iter(_shifted(digits, rng))
    return "".join(next(changed) if sign.isdigit() else sign for sign in number)


def _shifted(digits: str, rng: Random) -> str:
    """Another number with as many digits, 10 to 50 % away, or by one if that is less."""
    value = int(digits)
    by = rng.randint(max(1, value // 10), max(1, value // 2))
    signs = rng.sample([1, -1], 2)
    shifted = (value + sign * by for sign in signs)
    fitting = (new for new in shifted if new >= 0 and _width(new) == _width(value))
    return str(next(fitting)).zfill(len(digits))


def _width(value: int) -> int:
    return len(str(value))


CHANGED_NUMBER = Corruption(
    name="changed_number",
    plural="changed numbers",
    explanation="one number of the response changed by 10 to 50 %, or by one",
    change=_change,
    ability="check arithmetic",
)
