"""The measurements of `benchmarks/dedup.py`, and the tables that they make."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any, Final, Self

from benchmarks.dedup_truth import BINS
from benchmarks.peers.dedup_worker import THRESHOLD
from benchmarks.results_file import read_lines

BESIDE: Final = ("datasketch", "rensa")
"""The systems that the others are divided by."""

_ABOUT: Final = (
    "`python -m benchmarks.dedup measure` and `report`, see [README](../README.md). Median over "
    "the rounds [least, most]."
)

_FIRST: Final = round(THRESHOLD * BINS)
"""The first bin of duplicates."""
_PARTS: Final = {
    "found_seconds": "until they are found",
    "stage_seconds": "the stage alone",
}
"""Of the seconds of a system, those that are told apart."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """One system on one file, once. What was not measured is None, then `error` says why.

    Attributes:
        giant: Rows of the file that are equal.
        run: Number of the round.
        seconds: Wall clock, imports not counted.
        found_seconds: Of these, until the duplicates were known, where the rest is told apart.
        stage_seconds: Of these, what finding took after the rows were read, where that is told.
        cpu_seconds: Of all its processes.
        peak_mib: Resident, imports counted.
        removed: Rows that it leaves out.
        direct: Of these, rows that are similar to the row that stays.
        chained: Of these, rows that a path of similar pairs leads to the row that stays.
        pairs: Pairs of the subset by exact Jaccard, see `dedup_truth.BINS`.
        found: Of these, pairs in one cluster.
        version: Of the system's package.
    """

    system: str
    rows: int
    giant: int
    seed: int
    run: int
    seconds: float | None = None
    found_seconds: float | None = None
    stage_seconds: float | None = None
    cpu_seconds: float | None = None
    peak_mib: float | None = None
    removed: int | None = None
    direct: int | None = None
    chained: int | None = None
    pairs: tuple[int, ...] = ()
    found: tuple[int, ...] = ()
    version: str = ""
    error: str = ""

    @property
    def key(self) -> tuple[str, int, int, int, int]:
        """What was measured."""
        return self.system, self.rows, self.giant, self.seed, self.run

    def with_figures(self, **figures: Any) -> Self:  # noqa: ANN401  # values of fields
        """The same with some of its fields set."""
        return replace(self, **figures)

    @property
    def recall(self) -> float | None:
        """Share of the pairs at or above the threshold that are in one cluster."""
        pairs = sum(self.pairs[_FIRST:])
        return sum(self.found[_FIRST:]) / pairs if pairs else None

    @property
    def precision(self) -> float | None:
        """Share of the rows left out that a path of similar pairs leads to the row that stays."""
        return self.chained / self.removed if self.removed and self.chained is not None else None

    def line(self) -> str:
        """In one line."""
        head = f"{self.system}, {_file(self.rows, self.giant)}, round {self.run + 1}: "
        if self.error:
            return head + self.error
        return head + (
            f"{self.seconds:.1f} s, {self.peak_mib:,.0f} MiB, {self.removed:,} rows left out, "
            f"precision {_shown(self.precision)}, recall {_shown(self.recall)}"
        )


def read_measurements(*paths: Path) -> list[Measurement]:
    """The last one of each key, in order."""
    lines = (Measurement(**line) for line in read_lines(*paths))
    return list({each.key: each for each in lines}.values())


def report(measured: Sequence[Measurement]) -> str:
    """All tables, as Markdown."""
    files = sorted({(m.rows, m.giant) for m in measured}, key=lambda f: (f[1] > 0, f))
    versions = sorted({f"{m.system} {m.version}" for m in measured if m.version})
    parts = [
        "# Duplicates: this package beside its peers\n",
        f"{_ABOUT} Versions: {', '.join(versions)}.\n",
    ]
    for rows, giant in files:
        here = [m for m in measured if (m.rows, m.giant) == (rows, giant)]
        parts += [f"## {_file(rows, giant)}\n", _costs(here), _found(here)]
    parts.append(_growth(measured))
    return "\n".join(filter(None, parts))


def _file(rows: int, giant: int) -> str:
    return f"{rows:,} rows" + (f", {giant:,} of them equal" if giant else "")


def _costs(here: Sequence[Measurement]) -> str:
    """Per system what it takes, and what it finds."""
    beside = [name for name in BESIDE if _of(here, name, "seconds")]
    head = ["system", "seconds", *(f"to {name}" for name in beside), "CPU s", "peak MiB",
            "rows left out", "precision", "directly similar", "recall"]  # fmt: skip
    lines = []
    for system in _systems(here):
        if not (seconds := _of(here, system, "seconds")):
            errors = {m.error for m in here if m.system == system}
            lines.append([system, "; ".join(sorted(errors)), *["-"] * (len(head) - 2)])
            continue
        one = next(m for m in here if m.system == system and not m.error)
        direct = one.direct / one.removed if one.removed and one.direct is not None else None
        cells = (
            _range(_of(here, system, "cpu_seconds"), 1),
            _range(_of(here, system, "peak_mib"), 0),
            f"{one.removed:,}",
            *map(_shown, (one.precision, direct, one.recall)),
        )
        lines.append([system, *_beside(seconds, here, beside), *cells])
        for figure, name in _PARTS.items():
            if part := _of(here, system, figure):
                cost = _beside(part, here, beside)
                lines.append([f"{system}, {name}", *cost, *["-"] * len(cells)])
    return _table(head, lines)


def _beside(
    seconds: Sequence[float], here: Sequence[Measurement], beside: Sequence[str]
) -> list[str]:
    """Seconds, and how many times those of others they are."""
    ratios = (median(seconds) / median(_of(here, name, "seconds")) for name in beside)
    return [_range(seconds, 1), *(f"{ratio:.2f}" for ratio in ratios)]


def _found(here: Sequence[Measurement]) -> str:
    """Share of the pairs of each similarity that end in one cluster."""
    ones = {m.system: m for m in here if m.pairs}
    if not ones:
        return ""
    pairs = next(iter(ones.values())).pairs
    lines = [
        [
            f"{n / BINS:.2f} to {(n + 1) / BINS:.2f}",
            f"{pairs[n]:,}",
            *(f"{one.found[n] / pairs[n]:.3f}" for one in ones.values()),
        ]
        for n in range(BINS // 2, BINS)
        if pairs[n]
    ]
    return "Pairs of the subset in one cluster, by exact Jaccard:\n\n" + _table(
        ["Jaccard", "pairs", *ones], lines
    )


def _growth(measured: Sequence[Measurement]) -> str:
    """How much more the largest file takes than the one before."""
    parts = []
    for giant in sorted({m.giant for m in measured}):
        of = [m for m in measured if m.giant == giant and m.seconds is not None]
        sizes = sorted({m.rows for m in of})[-2:]
        if len(sizes) < 2:
            continue
        small, large = ([m for m in of if m.rows == rows] for rows in sizes)
        lines = [
            [system, *(_ratio(small, large, system, f) for f in ("seconds", "peak_mib"))]
            for system in _systems(of)
            if _of(small, system, "seconds") and _of(large, system, "seconds")
        ]
        times = sizes[1] / sizes[0]
        title = f"## From {_file(sizes[0], giant)} to {sizes[1]:,}: {times:g} times as many\n\n"
        parts.append(title + _table(["system", "seconds", "peak memory"], lines))
    return "\n".join(parts)


def _ratio(
    small: Sequence[Measurement], large: Sequence[Measurement], system: str, figure: str
) -> str:
    return f"x {median(_of(large, system, figure)) / median(_of(small, system, figure)):.2f}"


def _systems(of: Iterable[Measurement]) -> list[str]:
    return list(dict.fromkeys(m.system for m in of))


def _of(measured: Iterable[Measurement], system: str, figure: str) -> list[float]:
    """The figure in all rounds that have one."""
    values = (getattr(m, figure) for m in measured if m.system == system)
    return [value for value in values if value is not None]


def _range(values: Sequence[float], digits: int) -> str:
    shown: Callable[[float], str] = lambda value: f"{value:,.{digits}f}"  # noqa: E731
    if len(values) == 1:
        return shown(values[0])
    return f"{shown(median(values))} [{shown(min(values))}, {shown(max(values))}]"


def _shown(share: float | None) -> str:
    return "-" if share is None else f"{share:.4f}"


def _table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rows = [head, ["---"] * len(head), *lines]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)
