"""An estimate in words."""

from __future__ import annotations

from clear_pipeline.estimate.figures import Estimate, Span
from clear_pipeline.estimate.revised import Bill, Revised, ShortCap, short_caps
from clear_pipeline.llm.caps import cap_option, cap_typed, cap_value
from clear_pipeline.llm.settings import BudgetSettings

UNKNOWN = "not known"
FREE = "free of charge"


def whole(span: Span) -> str:
    """As a whole number, or as two."""
    low, high = span.rounded
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def short(span: Span) -> str:
    """In few characters, as 950-12.3k."""
    low, high = (_brief(value) for value in span.rounded)
    return low if low == high else f"{low}-{high}"


def _brief(value: int) -> str:
    """As it is below 10,000, with three digits above."""
    for letter, unit, least in (("M", 1e6, 999_500), ("k", 1e3, 10_000)):
        if value >= least:
            scaled = value / unit
            digits = max(0, 3 - len(str(int(scaled + 0.5))))
            return f"{scaled:,.{digits}f}{letter}"
    return f"{value:,}"


def dollars(usd: Span | None, *, between: str = " to $") -> str:
    """With as many digits as tell little from nothing.

    Args:
        usd: None where the price is not known.
        between: What stands between low and high.
    """
    if usd is None:
        return UNKNOWN
    if usd.high == 0:
        return FREE
    digits = next((n for n, least in ((2, 1.0), (3, 0.001)) if usd.high >= least), 4)
    low, high = (f"{value:,.{digits}f}" for value in (usd.low, usd.high))
    return f"${low}" if low == high else f"${low}{between}{high}"


def duration(minutes: float) -> str:
    """Roughly."""
    if minutes < 1:
        return "less than a minute"
    hour = 60
    count = f"{minutes:,.0f} min" if minutes < 2 * hour else f"{minutes / hour:,.1f} hours"
    return f"about {count}"


def summary(estimate: Estimate) -> str:
    """In one line."""
    need = estimate.need
    price = dollars(estimate.usd)
    parts = [
        f"{estimate.rows:,} rows",
        f"{whole(need.calls)} calls",
        f"{whole(need.prompt)} prompt tokens",
        f"{whole(need.completion)} completion tokens",
        f"at a price that is {price}" if price == UNKNOWN else price,
    ]
    if estimate.minutes is not None:
        parts.append(duration(estimate.minutes))
    return ", ".join(parts)


def revised(found: Revised) -> str:
    """What a whole run takes by what its first calls took, in one line."""
    parts = [
        f"estimate after {found.answered:,} calls: {_bill(found.total)} in all, {_off(found)}",
        f"spent {_bill(found.spent)}",
        f"to come {_bill(found.left)}",
    ]
    return "; ".join([*parts, *map(_short_cap, found.short_caps)])


def caps(estimate: Estimate, settings: BudgetSettings) -> list[str]:
    """Of an estimate from before a run, each cap that will not, or may not, suffice."""
    return [_short_cap(each) for each in short_of(estimate, settings)]


def short_of(estimate: Estimate, settings: BudgetSettings) -> list[ShortCap]:
    """Those caps."""
    return list(short_caps(estimate.spent, Bill.of(estimate), settings))


def _short_cap(short: ShortCap) -> str:
    option = cap_option(short.cap)
    verb = "will" if short.certain else "may"
    enough = cap_value(short.cap, short.enough)
    given = cap_typed(short.cap, short.limit)
    return f"{option} {given} {verb} not suffice, {option} {enough} would"


def _bill(bill: Bill) -> str:
    parts = [f"{whole(bill.calls)} calls", f"{whole(bill.tokens)} tokens"]
    if bill.usd is not None and bill.usd.high:
        parts.append(dollars(bill.usd))
    return ", ".join(parts)


def _off(found: Revised) -> str:
    """How far that is from the first estimate, in tokens."""
    low, high = found.first.need.total.rounded
    first = "first estimated" if low == high else "the middle of the first estimate"
    share = abs(found.off)
    if share < 0.005:  # noqa: PLR2004 -- would be shown as 0 %
        return f"as many tokens as {first}"
    return f"{share:.0%} {'more' if found.off > 0 else 'fewer'} tokens than {first}"


def remarks(estimate: Estimate) -> list[str]:
    """How the figures came about, a line each."""
    lines = []
    for note in estimate.models:
        learnt = (
            f", corrected by {note.learnt_from:,} answered calls of this run"
            if note.learnt_from
            else ""
        )
        lines.append(f"{note.model}: tokens counted {note.counted}{learnt}; prices {note.price}.")
    if estimate.minutes is not None:
        lines.append(f"Time: {duration(estimate.minutes)}, at the pace just measured.")
    return lines
