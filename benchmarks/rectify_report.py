"""What rectify did to rows whose truth is known, as figures.

Intervals are 95 %, Clopper-Pearson, two-sided; a bound is the upper end of the one-sided one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.intervals import shown
from benchmarks.results_file import read_lines
from clear_pipeline.calibration.eta import EtaCalibration, LabelledRepair, at_most, fit_eta
from clear_pipeline.errors import UsageError
from clear_pipeline.scoring.preference import EVEN
from clear_pipeline.stages.rectify import Rectify


@dataclass(frozen=True, slots=True)
class Repaired:
    """One line of the results file: what the stage did with one row, and the truth about it.

    Attributes:
        row: Its id.
        bad: Its label.
        model: Identity of the one that wrote and judged.
        settings: Of the stage, without the eta: verdicts do not depend on it.
        outcome: At the eta of that run; whether the candidate was judged, and why not.
        first: Preference for the candidate with the original shown first.
        second: The same with the candidate shown first.
        right: Whether the candidate has the true final answer; None without one.
        seconds: Wall clock, beside the other rows in flight.
    """

    row: str
    bad: bool
    model: str
    settings: dict[str, Any]
    outcome: str
    reason: str
    verdict: str | None
    preference: float | None
    first: float | None
    second: float | None
    candidate: str | None
    right: bool | None
    calls: int
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    seconds: float

    def replaced_above(self, eta: float) -> bool:
        """Whether it gets the candidate at this eta."""
        return self.verdict == "candidate" and (self.preference or 0.0) > eta


def read_repaired(path: Path) -> list[Repaired]:
    """The last line of each row, in order.

    Raises:
        UsageError: They are of several models or settings, which no table may mix.
    """
    rows = [Repaired(**line) for line in read_lines(path)]
    if any((row.model, row.settings) != (rows[0].model, rows[0].settings) for row in rows):
        raise UsageError(f"{path}: rows of several models or settings, which no table may mix")
    return list({row.row: row for row in rows}.values())


def report(
    rows: Sequence[Repaired], etas: Sequence[float], *, in_force: float, max_damage: float
) -> Iterator[str]:
    """Markdown: candidates, verdicts, what they cost, and the damage and good at each eta."""
    good, bad = (sum(row.bad is kind for row in rows) for kind in (False, True))
    yield f"{len(rows)} rows, {bad} of them bad"
    right = sum(row.right is True for row in rows)
    yield f"candidates that are right: {shown(right, len(rows))}"
    outcomes = Counter("judged" if row.preference is not None else row.outcome for row in rows)
    yield "rows by what became of the candidate: " + ", ".join(
        f"{name} {count}" for name, count in sorted(outcomes.items())
    )
    for reason, count in Counter(row.reason for row in rows if row.outcome == "refused").items():
        yield f"- {reason}: {count}"
    judged = [row for row in rows if row.first is not None and row.second is not None]
    flips = sum((row.first > EVEN) != (row.second > EVEN) for row in judged)  # type: ignore[operator]
    yield f"verdicts that flip with the order: {shown(flips, len(judged))}"
    yield from _cost(rows)
    yield ""
    yield "| eta | good rows damaged | bound | bad rows fixed | bad rows wrong in another way |"
    yield "|---|---|---|---|---|"
    for eta in etas:
        damaged, fixed, other = _effects(rows, eta)
        bound = f"{at_most(damaged, good):.3f}" if good else "-"
        mark = ", in force" if eta == in_force else ""
        yield (
            f"| {eta:g}{mark} | {shown(damaged, good)} | {bound} | {shown(fixed, bad)} "
            f"| {shown(other, bad)} |"
        )
    if good:
        reached = at_most(_effects(rows, in_force)[0], good)
        met = "met" if reached <= max_damage else "not met"
        yield ""
        yield (
            f"goal at eta {in_force:g}: damage of good rows at most {max_damage:g} by its bound, "
            f"{reached:.3f}: {met}"
        )


def _effects(rows: Sequence[Repaired], eta: float) -> tuple[int, int, int]:
    """Good rows damaged, bad rows fixed, bad rows replaced by another wrong response."""
    new = Counter((row.bad, row.right is True) for row in rows if row.replaced_above(eta))
    return new[False, False], new[True, True], new[True, False]


def _cost(rows: Sequence[Repaired]) -> Iterator[str]:
    count = max(len(rows), 1)
    tokens = sum(row.prompt_tokens + row.completion_tokens for row in rows)
    calls, seconds = (sum(row.calls for row in rows), sum(row.seconds for row in rows))
    yield (
        f"per row: {calls / count:.1f} calls, {tokens / count:,.0f} tokens, "
        f"{seconds / count:.1f} s beside the other rows in flight"
    )


def fitted_eta(rows: Sequence[Repaired], stage: Rectify, *, max_damage: float) -> EtaCalibration:
    """The eta for these rows by their true answers.

    Raises:
        UsageError: Too few good rows for such a promise.
    """
    asked = [row for row in rows if row.outcome != "failed"]
    labelled = [
        LabelledRepair(
            bad=row.bad,
            preference=row.preference if row.verdict == "candidate" else None,
            damages=not row.bad and row.right is not True,
        )
        for row in asked
    ]
    return EtaCalibration.of(
        fit_eta(labelled, max_damage=max_damage),
        max_damage=max_damage,
        damage="wrong",
        models=dict.fromkeys(("judge", "candidate"), asked[0].model if asked else ""),
        settings=stage.model_dump(mode="json"),
    )
