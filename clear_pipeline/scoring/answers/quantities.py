"""Numbers with their units: "$1,560.00", "3 1/2 cups", "50%", "-5 km/h"."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Final

from clear_pipeline.scoring.answers.plain import plain

_CURRENCY: Final = {"$": "usd", "us$": "usd", "€": "eur", "£": "gbp", "¥": "jpy"}
_WHOLE = r"(?:\d{1,3}(?:,\d{3})+|\d+)"
_QUANTITY = re.compile(
    rf"(?:=\s*|[-*\u2022]\s+)?(?P<sign>[-+]?)(?P<before>(?:US)?\$|[€£¥]|(?:USD|EUR|GBP|JPY)\b)?\s?(?P<inner>[-+]?)"
    rf"(?:(?P<mixed>\d+)\s+)?(?:(?P<above>\d+)\s?/\s?(?P<below>\d+)"
    rf"|(?P<number>{_WHOLE}(?:\.\d+)?|\.\d+)"
    rf"(?:e(?P<e>[-+]?\d{{1,3}})(?![a-z])|\s?\*\s?10\^\{{?(?P<ten>-?\d{{1,3}})\}}?)?)"
    rf"(?:\s*(?P<unit>[^\d\s=<>+*/^(][^\d=<>+*^(]*))?",
    re.IGNORECASE,
)
_SCALES: Final = {
    "thousand": 3, "k": 3, "million": 6, "mn": 6, "billion": 9, "bn": 9, "trillion": 12,
}  # fmt: skip
_GLUED_SCALES: Final = {"K": 3, "M": 6, "B": 9}
"""Scales where they stand at the number itself; apart from it they are units or names."""
_LETTERS: Final = frozenset("ACFHJKNTVW")
"""Units of one letter that may be left out; any other letter is a variable, 3x is not 3."""
_UNITS: Final = [
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine",
    "ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen",
    "seventeen", "eighteen", "nineteen",
]  # fmt: skip
_TENS: Final = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_NAMES: Final = {name: str(value) for value, name in enumerate(_UNITS)} | {
    f"{tens}-{_UNITS[unit]}" if unit else tens: str(10 * number + unit)
    for number, tens in enumerate(_TENS, start=2)
    for unit in range(10)
}
_MAX_UNIT_WORDS: Final = 3
_SYMBOL_LENGTH: Final = 3
"""Longest unit whose case counts and which has no plural: mW is not MW."""
_SYMBOLS: Final = {
    name: symbol
    for symbol, names in {
        "%": "percent|per cent|pct",
        "usd": "dollar|us dollar|USD|$",
        "eur": "euro|EUR|€",
        "gbp": "GBP|£",
        "jpy": "yen|JPY|¥",
        "km": "kilometer|kilometre",
        "m": "meter|metre",
        "cm": "centimeter|centimetre",
        "mm": "millimeter|millimetre",
        "kg": "kilogram|kilo|kgs",
        "g": "gram",
        "mg": "milligram",
        "l": "liter|litre|L",
        "ml": "milliliter|millilitre|mL",
        "h": "hour|hr|hrs",
        "min": "minute|mins",
        "s": "second|sec|secs",
        "mph": "mile per hour|mi/h",
        "km/h": "kilometer per hour|kilometre per hour|kmh|kph",
        "°": "degree|deg",
        "°C": "degree celsius",
        "°F": "degree fahrenheit",
    }.items()
    for name in names.split("|")
}


@dataclass(frozen=True, slots=True)
class Quantity:
    """An exact value and its unit, "" if none is written."""

    value: Fraction
    unit: str


def same_quantity(first: str, second: str) -> bool | None:
    """Whether two texts are the same number of the same unit; None if one is no number.

    A unit that only one of them names was left out by the other, so "18" is "$18"; "5 km" is
    not "5 m", and nothing is converted. "50%" is "50" and, because it says per cent, "0.5".
    """
    left, right = read_quantity(first), read_quantity(second)
    if left is None or right is None:
        return None
    if left.unit == right.unit or not left.unit or not right.unit:
        return left.value == right.value or _as_share(left, right) or _as_share(right, left)
    return False


def read_quantity(text: str) -> Quantity | None:
    """The number that the whole of `text` is, else None."""
    short = _digits(plain(text))
    found = _QUANTITY.fullmatch(short)
    if found is None or (found["sign"] and found["inner"]):
        return None
    value = _value(found)
    if value is None:
        return None
    power, unit = _scaled(found)
    if unit is None:
        return None
    value *= 10**power
    if found["before"]:
        currency = found["before"].casefold()
        currency = _CURRENCY.get(currency, currency)
        if unit not in ("", currency):
            return None
        unit = currency
    negative = "-" in (found["sign"], found["inner"])
    return Quantity(-value if negative else value, unit)


def _as_share(percent: Quantity, bare: Quantity) -> bool:
    return percent.unit == "%" and not bare.unit and percent.value / 100 == bare.value


def _digits(text: str) -> str:
    """Vulgar fractions and, at the start, the names of small numbers, in digits."""
    spelled = "".join(
        f" {unicodedata.normalize('NFKC', c)} ".replace("\N{FRACTION SLASH}", "/").rstrip()
        if "VULGAR FRACTION" in unicodedata.name(c, "")
        else c
        for c in text
    ).strip()
    first, space, rest = spelled.partition(" ")
    return _NAMES.get(first.casefold(), first) + space + rest


def _value(found: re.Match[str]) -> Fraction | None:
    if found["below"]:
        if int(found["below"]) == 0:
            return None
        return int(found["mixed"] or 0) + Fraction(int(found["above"]), int(found["below"]))
    number = found["number"]
    if found["mixed"] or (len(number) > 1 and number[0] == "0" and number[1].isdigit()):
        return None  # "1 560" may be two numbers, "007" is a name
    exponent = found["e"] or found["ten"] or "0"
    return Fraction(Decimal(f"{number.replace(',', '')}e{exponent}"))


def _scaled(found: re.Match[str]) -> tuple[int, str | None]:
    """The power of ten that stands behind the number, and its unit as `_unit` has it."""
    written = found["unit"] or ""
    glued = bool(written) and found.string[found.start("unit") - 1].isdigit()
    if glued and written[0] in _GLUED_SCALES and not written[1:2].isalpha():
        return _GLUED_SCALES[written[0]], _unit(written[1:])
    unit = _unit(written)
    scale, _, rest = (unit or "").partition(" ")
    if scale in _SCALES:
        return _SCALES[scale], _SYMBOLS.get(rest, rest)
    return 0, unit


def _unit(text: str) -> str | None:
    """The unit in one form, or None if `text` is a name ("7 Eleven"), a sentence or a variable."""
    said = text.strip(" -").split()
    if len(said) > _MAX_UNIT_WORDS:
        return None
    if any(len(word) > _SYMBOL_LENGTH and not word.islower() for word in said):
        return None
    unit = " ".join(word if word in _SYMBOLS else _singular(word) for word in said)
    unit = _SYMBOLS.get(unit, unit)
    letter = len(unit) == 1 and unit not in {*_SYMBOLS.values(), *_SCALES, *_LETTERS}
    return None if letter or unit.startswith("\\") else unit


def _singular(word: str) -> str:
    plural = len(word) > _SYMBOL_LENGTH and word.endswith("s") and not word.endswith("ss")
    return word[:-1] if plural else word
