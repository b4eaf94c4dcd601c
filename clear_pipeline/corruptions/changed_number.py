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
    r"(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]{1,18})(?:\.[0-9]{1,6})?(?![0-9])"
)
_WORDS: Final = (
    "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
)  # fmt: skip
_NUMBER: Final = re.compile(rf"{_DIGITS}|\b(?:{'|'.join(_WORDS)})\b", re.IGNORECASE | re.MULTILINE)


_BEFORE_LABEL: Final = re.compile(r"[\s*#>-]*(?:step\s+)?", re.IGNORECASE)
_AFTER_LABEL: Final = re.compile(r"[.):]\**[ \t]+\S")


def _change(example: Example, _sample: Sample, rng: Random) -> str | None:
    """One number becomes another, wherever it stands in the response."""
    text = example.response
    found = sorted({m.group() for m in _NUMBER.finditer(text) if not _is_label(m, text)})
    if not found:
        return None
    old = rng.choice(found)
    new = _other(old, rng)
    return _NUMBER.sub(
        lambda m: new if m.group() == old and not _is_label(m, text) else m.group(), text
    )


def _is_label(number: re.Match[str], text: str) -> bool:
    """Whether it numbers an item of a list or a step, and says nothing itself."""
    start = text.rfind("\n", 0, number.start()) + 1
    return (
        _BEFORE_LABEL.fullmatch(text, start, number.start()) is not None
        and _AFTER_LABEL.match(text, number.end()) is not None
    )


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
