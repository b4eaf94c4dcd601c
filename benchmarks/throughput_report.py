"""The measurements of `benchmarks/throughput.py`, and the tables that they make."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks.results_file import read_lines

RATE: Final = "rate"
MEMORY: Final = "memory"
EMBEDDED: Final = "embedded"

_POINTS: Final = 20
"""Of the series of memory, so many are shown."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """One client, once.

    Attributes:
        kind: RATE, MEMORY or EMBEDDED.
        system: `ours` or `bare`.
        in_flight: Requests open at once, at most.
        run: Number of the round.
        figures: By name: requests; rate and steady_rate (without the first and the last tenth) in
            requests per second; tokens; seconds; client_cpu and server_cpu in seconds; peak_mib.
        series: Requests answered and MiB resident, over time.
    """

    kind: str
    system: str
    rows: int
    in_flight: int
    run: int
    figures: Mapping[str, float]
    series: Sequence[tuple[int, float]] = ()

    @property
    def key(self) -> tuple[str, str, int, int, int]:
        """What was measured."""
        return self.kind, self.system, self.rows, self.in_flight, self.run

    @property
    def speed(self) -> float:
        """Requests per second once it is under way; for EMBEDDED tokens per second."""
        if self.kind == EMBEDDED:
            return self.figures["tokens"] / self.figures["seconds"]
        return self.figures["steady_rate"]

    def per_thousand(self, figure: str) -> float:
        """Of a figure, the part of a thousand requests."""
        return 1000 * self.figures[figure] / self.figures["requests"]

    def growth(self) -> float | None:
        """MiB from the moment when half of the rows were answered to the end; None if not seen."""
        late = [resident for answered, resident in self.series if answered >= self.rows / 2]
        return late[-1] - late[0] if late else None

    def line(self) -> str:
        """In one line."""
        unit = "tokens" if self.kind == EMBEDDED else "requests"
        return (
            f"{self.kind}, {self.system}, {self.rows:,} rows, {self.in_flight} in flight, "
            f"round {self.run + 1}: {self.figures['requests']:,.0f} requests, {self.speed:,.1f} "
            f"{unit}/s, peak {self.figures['peak_mib']:,.0f} MiB"
        )


def read_measurements(*paths: Path) -> list[Measurement]:
    """The last one of each key, in order."""
    lines = (Measurement(**line) for line in read_lines(*paths))
    return list({each.key: each for each in lines}.values())


def report(measured: Sequence[Measurement]) -> str:
    """All tables, as Markdown."""
    parts = ["# Throughput of the score stage\n"]
    for kind, section in ((RATE, _rate), (EMBEDDED, _embedded), (MEMORY, _memory)):
        of = [each for each in measured if each.kind == kind]
        for rows, in_flight in sorted({(each.rows, each.in_flight) for each in of}):
            here = [each for each in of if (each.rows, each.in_flight) == (rows, in_flight)]
            parts += [f"## {kind}: {rows:,} rows, {in_flight} in flight\n", section(here)]
    return "\n".join(parts)


def _rate(here: Sequence[Measurement]) -> str:
    head = ["client", "requests", "requests/s", "of them all", "most open",
            "client, CPU s per 1,000", "server, CPU s per 1,000"]  # fmt: skip
    lines = [
        [
            system,
            f"{of[0].figures['requests']:,.0f}",
            _range(of, lambda each: each.speed),
            _range(of, lambda each: each.figures["rate"]),
            f"{max(each.figures['most_open'] for each in of):.0f}",
            _range(of, lambda each: each.per_thousand("client_cpu"), 2),
            _range(of, lambda each: each.per_thousand("server_cpu"), 2),
        ]
        for system, of in _by_system(here)
    ]
    about = (
        "Requests per second between the first and the last tenth, and from the first request to "
        "the last answer.\n"
    )
    return "\n".join([about, _table(head, lines), _ratio(here)])


def _embedded(here: Sequence[Measurement]) -> str:
    head = ["client", "requests", "tokens", "seconds", "tokens/s"]
    lines = [
        [
            system,
            f"{of[0].figures['requests']:,.0f}",
            f"{of[0].figures['tokens']:,.0f}",
            _range(of, lambda each: each.figures["seconds"]),
            _range(of, lambda each: each.speed),
        ]
        for system, of in _by_system(here)
    ]
    return "\n".join([_table(head, lines), _ratio(here)])


def _memory(here: Sequence[Measurement]) -> str:
    (one,) = here
    growth = one.growth()
    step = max(1, len(one.series) // _POINTS)
    shown = [[f"{answered:,}", f"{resident:.0f}"] for answered, resident in one.series[::step]]
    grown = "unknown" if growth is None else f"{growth:+.0f} MiB"
    about = (
        f"Peak {one.figures['peak_mib']:.0f} MiB resident; from half of the rows to the end "
        f"{grown}; {one.figures['rate']:,.0f} requests/s.\n"
    )
    return "\n".join([about, _table(["requests answered", "MiB resident"], shown)])


def _ratio(here: Sequence[Measurement]) -> str:
    """Ours to bare, round by round."""
    speeds = {(each.system, each.run): each.speed for each in here}
    ratios = [
        speeds["ours", run] / speeds["bare", run]
        for run in sorted({each.run for each in here})
        if ("ours", run) in speeds and ("bare", run) in speeds
    ]
    if not ratios:
        return "No round has both.\n"
    return (
        f"Ours to bare, round by round: {median(ratios):.3f} [{min(ratios):.3f}, "
        f"{max(ratios):.3f}], {len(ratios)} rounds.\n"
    )


def _by_system(here: Sequence[Measurement]) -> list[tuple[str, list[Measurement]]]:
    names = sorted({each.system for each in here}, reverse=True)
    return [(name, [each for each in here if each.system == name]) for name in names]


def _range(
    of: Sequence[Measurement], figure: Callable[[Measurement], float], digits: int = 1
) -> str:
    """Median over the rounds [least, most]."""
    values = [figure(each) for each in of]
    low, middle, high = (f"{f(values):,.{digits}f}" for f in (min, median, max))
    return middle if len(values) == 1 else f"{middle} [{low}, {high}]"


def _table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rows = [head, ["---"] * len(head), *lines]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)
