"""Dates: "3 May 2021", "May 3rd, 2021", "2021-05-03"."""

from __future__ import annotations

import re
from datetime import date
from typing import Final, NamedTuple

from clear_pipeline.scoring.answers.plain import plain

_MONTHS: Final = {
    name[:length]: number
    for number, name in enumerate(
        [
            "january", "february", "march", "april", "may", "june", "july", "august",
            "september", "october", "november", "december",
        ],
        start=1,
    )
    for length in (3, len(name))
} | {"sept": 9}  # fmt: skip
_DAY = r"(?P<day>\d{1,2})(?:st|nd|rd|th)?"
_MONTH = rf"(?P<month>{'|'.join(sorted(_MONTHS, key=len, reverse=True))})\.?"
_YEAR = r"(?P<year>\d{4})"
_WEEKDAY = r"(?:(?:mon|tues?|wed(?:nes)?|thu(?:rs)?|fri|sat(?:ur)?|sun)(?:day)?\.?,? )?"
_FORMS: Final = tuple(
    re.compile(rf"(?:on )?{_WEEKDAY}(?:the )?{form}", re.IGNORECASE)
    for form in (
        rf"{_DAY}(?: of)? {_MONTH}(?:,? {_YEAR})?",
        rf"{_MONTH} {_DAY}(?:,? {_YEAR})?",
        rf"{_MONTH},? {_YEAR}",
        rf"{_YEAR}([-/.])(?P<number>\d{{1,2}})\2(?P<day>\d{{1,2}})",
        rf"(?P<first>\d{{1,2}})([-/.])(?P<second>\d{{1,2}})\2{_YEAR}",
    )
)


class Day(NamedTuple):
    """A date, or what is given of one."""

    year: int | None
    month: int
    day: int | None


def same_date(first: str, second: str) -> bool | None:
    """Whether two texts are the same date; None if one is none.

    "03/04/2021" may be March or April: it is no date, but is compared as it is written. A date
    without its year or day is another one.
    """
    left, right = read_date(first), read_date(second)
    return None if left is None or right is None else left == right


def read_date(text: str) -> Day | None:
    """The date that the whole of `text` is, else None."""
    short = plain(text)
    for form in _FORMS:
        if (found := form.fullmatch(short)) is not None:
            return _day(found.groupdict())
    return None


def _day(given: dict[str, str | None]) -> Day | None:
    numbers = {name: int(text) for name, text in given.items() if text and text.isdecimal()}
    year, month, day = (numbers.get(name) for name in ("year", "number", "day"))
    if "first" in numbers:
        month, day = _month_and_day(numbers["first"], numbers["second"])
    elif month is None:
        month = _MONTHS.get((given["month"] or "").casefold(), 0)
    try:
        date(year or 2000, month, day or 1)  # 2000 has a 29 February
    except ValueError:
        return None
    return Day(year, month, day)


def _month_and_day(first: int, second: int) -> tuple[int, int]:
    """Which is which, where only one order makes a date; month 0, which is none, elsewhere."""
    if first == second or second > 12:  # noqa: PLR2004 -- months of a year
        return first, second
    return (second, first) if first > 12 else (0, 0)  # noqa: PLR2004
