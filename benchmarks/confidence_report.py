"""The tables of `benchmarks/confidence.py`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from benchmarks.results_file import Result
from benchmarks.systems import OURS, SYSTEMS, TRIVIAL
from clear_pipeline.errors import UsageError
from clear_pipeline.evaluate.statistics import (
    Estimate,
    detection,
    mean_paired_difference,
    paired_difference,
)

FREE_ENDED = ("length", "overlap")
"""Trivial scores that say nothing about which end is bad: each set takes the better one."""

NEARLY = 0.8
"""Share of the most rows from which a system is compared with the others on the rows of all."""

BESIDE = ("fast", "best", "tlm")
"""What a system with fewer rows is shown beside."""


@dataclass(frozen=True, slots=True)
class Paired:
    """The rows of one set to which every compared system gave a score.

    Attributes:
        bad: Per row.
        scores: Per system, one score per row, in the same order.
    """

    bad: NDArray[np.bool_]
    scores: Mapping[str, NDArray[np.float64]]

    @property
    def comparable(self) -> bool:
        """Whether there are bad rows and good ones."""
        return len(set(self.bad.tolist())) > 1

    def difference(self, first: str, second: str) -> Estimate:
        """AUROC of `first` minus that of `second`."""
        return paired_difference(self.scores[first], self.scores[second], self.bad)


Sets: TypeAlias = Mapping[str, Mapping[str, Sequence[Result]]]
"""By set and system: its results."""


def report(
    results: Sequence[Result],
    names: Collection[str] | None = None,
    main: Collection[str] | None = None,
) -> list[str]:
    """Markdown: the systems with the most rows together, then each of the others on its own rows.

    Args:
        results: Of one model and split.
        names: The systems to compare; None = all that have results.
        main: Those to compare together; None = those asked about nearly as many rows as the one
            asked about most.

    Raises:
        UsageError: A system of `main`, or every system, has no results.
    """
    results = [r for r in results if r.system in (names or SYSTEMS)]
    together = _main(results) if main is None else [name for name in SYSTEMS if name in main]
    sets = _by_set(results, together)
    measured = {r.system for r in results}
    if not measured or (absent := [name for name in together if name not in measured]):
        raise UsageError(f"no results of {', '.join(absent) if measured else 'any system'}")
    paired = {stem: pair(found) for stem, found in sets.items()}
    lines = [f"## {results[0].model}, split {results[0].split}", "", _LEGEND]
    if all(rows.comparable for rows in paired.values()):
        lines += ["", "### All sets", "", *_overview(sets, paired)]
    for stem, found in sets.items():
        lines += ["", *_set_table(stem, found, paired[stem])]
    fit = {stem: rows for stem, rows in paired.items() if rows.comparable}
    if fit:
        lines += ["", "### AUROC of the first minus that of the second", ""]
        lines += _difference_table({stem: sets[stem] for stem in fit}, fit)
    else:
        lines += ["", "No set has bad and good rows that every system scored."]
    for name in (name for name in SYSTEMS if name in measured and name not in together):
        lines += ["", *_apart(results, name, together)]
    return lines


def _main(results: Sequence[Result]) -> list[str]:
    """Systems asked about nearly as many rows as the one asked about most, trivial ones apart."""
    rows = Counter(r.system for r in results)
    most = max((n for name, n in rows.items() if name not in TRIVIAL), default=0)
    return [name for name in SYSTEMS if name in rows and rows[name] >= NEARLY * most]


def _apart(results: Sequence[Result], name: str, together: Collection[str]) -> list[str]:
    """One system on the sets and rows that it was asked about, beside those people know."""
    own = {r.set for r in results if r.system == name}
    beside = [name, *(other for other in BESIDE if other in together)]
    every = _by_set([r for r in results if r.set in own], beside)
    paired = {stem: pair(found) for stem, found in every.items()}
    fit = {stem: rows for stem, rows in paired.items() if rows.comparable}
    lines = [f"### The rows that {name} scored", ""]
    if not fit:
        return [*lines, f"No set has bad and good rows that {', '.join(beside)} scored."]
    sets = {stem: every[stem] for stem in fit}
    return [*lines, *_overview(sets, fit), "", *_difference_table(sets, fit, only=name)]


_LEGEND = (
    "AUROC and average precision with 95 % bootstrap intervals, on the rows that every system of "
    "the table scored; differences are paired. Tokens, calls and seconds are means over the rows "
    "that every system was asked about. `length` and `overlap` get the better end on each set. A "
    "system that was asked about fewer rows has a table of its own."
)


_COLUMNS = (
    "system",
    "AUROC",
    "average precision",
    "unscored",
    "prompt tokens",
    "of them cached",
    "completion tokens",
    "calls",
    "seconds",
)


def _by_set(results: Iterable[Result], names: Collection[str]) -> Sets:
    sets: dict[str, dict[str, list[Result]]] = {}
    for r in sorted(results, key=lambda r: list(SYSTEMS).index(r.system)):
        if r.system in names:
            sets.setdefault(r.set, {}).setdefault(r.system, []).append(r)
    return {stem: _asked_by_all(found) for stem, found in sets.items()}


def _asked_by_all(found: Mapping[str, Sequence[Result]]) -> dict[str, list[Result]]:
    """The results on the rows that every system was asked about, scored or not."""
    asked = [{r.row for r in results} for results in found.values()]
    rows = set.intersection(*asked)
    return {name: [r for r in results if r.row in rows] for name, results in found.items()}


def pair(found: Mapping[str, Sequence[Result]]) -> Paired:
    """The rows of one set that all of these systems scored."""
    scored = {
        name: {r.row: r.score for r in results if r.score is not None}
        for name, results in found.items()
    }
    labels = {r.row: r.bad for results in found.values() for r in results}
    rows = [row for row in labels if all(row in scores for scores in scored.values())]
    bad = np.array([labels[row] for row in rows], bool)
    columns = {
        name: np.array([scores[row] for row in rows], np.float64) for name, scores in scored.items()
    }
    paired = Paired(bad, columns)
    for name in FREE_ENDED if paired.comparable else ():
        if name in columns and detection(columns[name], bad, resamples=1).auroc.value < 0.5:
            columns[name] = -columns[name]
    return paired


def _overview(sets: Sets, paired: Mapping[str, Paired]) -> list[str]:
    """AUROC of every system on every set, the mean over the sets, and what a row takes."""
    rows = [f"{stem}, {len(p.bad)} rows" for stem, p in paired.items()]
    columns = ["system", *rows, "mean", "tokens a row", "of them cached", "seconds a row"]
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for name in (name for name in SYSTEMS if all(name in found for found in sets.values())):
        cells = [_cell(detection(p.scores[name], p.bad).auroc) for p in paired.values()]
        chance = mean_paired_difference(
            [(p.scores[name], np.zeros(len(p.bad)), p.bad) for p in paired.values()]
        )
        mean = Estimate(chance.value + 0.5, chance.low + 0.5, chance.high + 0.5)
        cost = [
            np.mean([np.mean([getattr(r, field) for r in found[name]]) for found in sets.values()])
            for field in ("tokens", "cached_tokens", "seconds")
        ]
        figures = f"{cost[0]:,.0f} | {cost[1]:,.0f} | {cost[2]:.1f}"
        lines.append(f"| {name} | {' | '.join(cells)} | {_cell(mean)} | {figures} |")
    return lines


def _set_table(stem: str, found: Mapping[str, Sequence[Result]], rows: Paired) -> list[str]:
    lines = [
        f"### {stem}: {len(rows.bad)} rows, {int(rows.bad.sum())} bad",
        "",
        f"| {' | '.join(_COLUMNS)} |",
        "|---" * len(_COLUMNS) + "|",
    ]
    for name, results in found.items():
        figures = "- | -"
        if rows.comparable:
            how = detection(rows.scores[name], rows.bad)
            figures = f"{_cell(how.auroc)} | {_cell(how.average_precision)}"
        cost = [
            np.mean([getattr(r, field) for r in results])
            for field in ("prompt_tokens", "cached_tokens", "completion_tokens", "calls")
        ]
        unscored = sum(r.score is None for r in results)
        lines.append(
            f"| {name} | {figures} | {unscored} of {len(results)} | "
            + " | ".join(f"{value:.1f}" for value in cost)
            + f" | {np.mean([r.seconds for r in results]):.2f} |"
        )
    return lines


def _difference_table(
    sets: Sets, paired: Mapping[str, Paired], *, only: str | None = None
) -> list[str]:
    """Each of our presets against everything else, per set and over the sets; or `only` that."""
    everywhere = [name for name in SYSTEMS if all(name in found for found in sets.values())]
    columns = ["first", "second", "mean", *paired, "tokens, first / second", "the same, uncached"]
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for first in (name for name in everywhere if name in OURS):
        for second in (name for name in everywhere if name != first):
            if only not in (None, first, second):
                continue
            groups = [(p.scores[first], p.scores[second], p.bad) for p in paired.values()]
            cells = [p.difference(first, second) for p in paired.values()]
            lines.append(
                f"| {first} | {second} | {_signed(mean_paired_difference(groups))} | "
                + " | ".join(map(_signed, cells))
                + f" | {_ratio(sets, first, second, 'tokens')}"
                f" | {_ratio(sets, first, second, 'computed')} |"
            )
    return lines


def _ratio(sets: Sets, first: str, second: str, field: str) -> str:
    """Mean tokens of the first over those of the second; every set counts alike."""
    one, other = (
        np.mean([np.mean([getattr(r, field) for r in found[name]]) for found in sets.values()])
        for name in (first, second)
    )
    return f"{one / other:.2f}" if other > 0 else "-"


def _cell(estimate: Estimate) -> str:
    return f"{estimate.value:.3f} [{estimate.low:.2f}, {estimate.high:.2f}]"


def _signed(estimate: Estimate) -> str:
    return f"{estimate.value:+.3f} [{estimate.low:+.3f}, {estimate.high:+.3f}]"
