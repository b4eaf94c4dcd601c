"""The tables of `benchmarks/clear_small.py`, from the arms that are finished."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.clear_small_arms import (
    ARMS,
    CORRECT,
    FILTER,
    FULL,
    RANDOM,
    RATING,
    STOPPED,
    ZERO,
    ArmResult,
    from_hex,
    read_arms,
)
from benchmarks.clear_small_judge import Scores, read_scores
from benchmarks.clear_small_picture import picture
from benchmarks.clear_small_tasks import TASKS, noisy_rows, rows_of
from clear_pipeline.durable import write_text_atomically
from clear_pipeline.errors import UsageError
from clear_pipeline.evaluate.bootstrap import mean_estimate
from clear_pipeline.evaluate.statistics import Estimate, detection

COMPARED: Final = (
    (FILTER, FULL), (FILTER, RANDOM), (CORRECT, FILTER), (FILTER, RATING), (CORRECT, FULL),
    (FILTER, STOPPED),
)  # fmt: skip
"""Which arm is compared with which. The first three are what is to be shown."""

F64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Figures:
    """All arms of the seeds that are there, as numbers.

    Attributes:
        arms: By key.
        tasks: In order.
        percents: In order.
        rows: Test rows per task.
    """

    arms: Mapping[tuple[int, str, int, str], ArmResult]
    tasks: tuple[str, ...]
    percents: tuple[int, ...]
    rows: int

    @classmethod
    def read(cls, place: Path) -> Figures:
        """Of a folder of results, or of a file with the arms of all workers.

        Raises:
            UsageError: There are none, or of several settings.
        """
        arms = read_arms(place)
        if not arms:
            raise UsageError(f"{place}: no arm is finished there")
        settings = [arm.settings for arm in arms.values()]
        if any(each != settings[0] for each in settings):
            raise UsageError(f"{place}: holds arms of several settings, which no table may mix")
        percents = sorted({arm.percent for arm in arms.values() if arm.seed})
        tasks = tuple(task for task in TASKS if any(arm.task == task for arm in arms.values()))
        return cls(arms, tasks, tuple(percents), int(str(settings[0]["test"])))

    def bits(self, seed: int, task: str, percent: int, arm: str) -> F64 | None:
        """Which test rows an arm got right; None if it is not there."""
        found = self.arms.get((seed, task, percent, arm))
        return None if found is None else from_hex(found.right, self.rows)

    def seeds(self) -> list[int]:
        """All that have any arm."""
        return sorted({seed for seed, *_ in self.arms if seed})

    def matrix(self, tasks: Sequence[str], percents: Sequence[int], arms: Sequence[str]) -> F64:
        """Arms x seeds x rows (those of all tasks), means over noise levels.

        Only seeds for which all of it is there.
        """
        whole = []
        for seed in self.seeds():
            cells = [self._row(seed, tasks, percents, arm) for arm in arms]
            if all(each is not None for each in cells):
                whole.append(cells)
        if not whole:
            return np.empty((len(arms), 0, 0))
        return np.array(whole, np.float64).swapaxes(0, 1)

    def _row(
        self, seed: int, tasks: Sequence[str], percents: Sequence[int], arm: str
    ) -> F64 | None:
        """The rows of all tasks one after the other, means over noise levels."""
        levels = []
        for percent in percents:
            found = [self.bits(seed, task, percent, arm) for task in tasks]
            there = [bits for bits in found if bits is not None]
            if len(there) < len(tasks):
                return None
            levels.append(np.concatenate(there))
        mean: F64 = np.mean(levels, axis=0)
        return mean

    def mean(self, tasks: Sequence[str], percents: Sequence[int], arm: str) -> Estimate | None:
        """Exact match of an arm, with the interval over seeds and rows."""
        return mean_estimate(self.matrix(tasks, percents, [arm])[0])

    def seeds_of(self, task: str, percent: int, arm: str) -> int:
        """On how many seeds an arm is there."""
        return len(self.matrix([task], [percent], [arm])[0])

    def difference(
        self, tasks: Sequence[str], percents: Sequence[int], first: str, second: str
    ) -> tuple[int, Estimate | None]:
        """On how many seeds, and by how much `first` is above `second`.

        A seed has the same noisy rows in both arms, so that seeds are drawn as pairs, as rows are.
        """
        one, two = self.matrix(tasks, percents, [first, second])
        return len(one), mean_estimate(one - two)

    def average(self, arm: str, task: str, percent: int, value: str) -> float | None:
        """Mean of a number over the seeds of one task and noise level."""
        found = [
            float(getattr(each, value))
            for each in self.arms.values()
            if (each.arm, each.task, each.percent) == (arm, task, percent)
        ]
        return fmean(found) if found else None


def verdict(found: Estimate, seeds: int) -> str:
    """What an interval says about a difference; that of one seed is about its rows alone."""
    said = "above" if found.low > 0 else "below" if found.high < 0 else "not resolved"
    return said if seeds > 1 else f"{said} on this seed"


def write_report(place: Path, drawn: Path | None = None) -> str:
    """The tables as Markdown; the picture, if one is wanted, as a file.

    AUROCs are told where `place` is a folder with scores.
    """
    figures = Figures.read(place)
    if drawn is not None:
        write_text_atomically(drawn, picture(figures))
    parts = (
        _means(figures), _differences(figures), _sets(figures), _repairs(figures),
        _confidences(figures, place), _settings(figures),
    )  # fmt: skip
    return "\n\n".join("\n".join(lines) for part in parts if (lines := list(part)))


def _arms(figures: Figures) -> list[str]:
    there = {key[3] for key in figures.arms}
    return [arm for arm in (ZERO, *ARMS) if arm in there]


def _means(figures: Figures) -> Iterator[str]:
    yield (
        f"Exact match on {figures.rows:,} held-out rows per task, 95 % intervals, and on how many "
        "seeds; arms that have other seeds are not to be compared here"
    )
    yield ""
    heads = [f"{task}, {percent} %" for task in figures.tasks for percent in figures.percents]
    yield from _head(["arm", *heads])
    for arm in _arms(figures):
        cells = []
        for task in figures.tasks:
            if arm == ZERO:
                bits = figures.bits(0, task, 0, ZERO)
                found = None if bits is None else mean_estimate(bits)
                cells += [_shown(found)] * len(figures.percents)
            else:
                cells += [_mean_shown(figures, task, p, arm) for p in figures.percents]
        yield _line([arm, *cells])


def _differences(figures: Figures) -> Iterator[str]:
    yield "Differences of exact match, paired by row and by seed, on the seeds that have all of it"
    yield ""
    yield from _head(["first - second", "noise", "tasks", "seeds", "difference", "first is"])
    both, every = figures.tasks, figures.percents
    cells = [
        *((both, (p,), "both", f"{p} %") for p in every),
        *(((task,), every, task, "all levels") for task in figures.tasks),
        (both, every, "both", "all levels"),
    ]
    for first, second in COMPARED:
        for tasks, percents, told, level in cells:
            seeds, found = figures.difference(tasks, percents, first, second)
            if found is not None:
                shown = found.shown(signed=True)
                name = f"{first} - {second}"
                yield _line([name, level, told, str(seeds), shown, verdict(found, seeds)])


def _sets(figures: Figures) -> Iterator[str]:
    yield "Rows that were trained on, and the share of them with a wrong answer; means"
    yield ""
    yield from _head(["task", "arm", *(f"{percent} %" for percent in figures.percents)])
    for task in figures.tasks:
        for arm in _arms(figures):
            cells = [_set_shown(figures, arm, task, percent) for percent in figures.percents]
            if any(cells):
                yield _line([task, arm, *cells])


def _set_shown(figures: Figures, arm: str, task: str, percent: int) -> str:
    rows = figures.average(arm, task, percent, "rows")
    noisy = figures.average(arm, task, percent, "noisy")
    steps = figures.average(arm, task, percent, "steps")
    if not rows or noisy is None or steps is None:
        return ""
    return f"{rows:.0f}, {noisy / rows:.1%}, {steps:.0f} steps"


def _repairs(figures: Figures) -> Iterator[str]:
    yield "Candidates of auto-correct by what became of them, over all seeds"
    yield ""
    totals: dict[tuple[str, int], Counter[str]] = {}
    for arm in figures.arms.values():
        if arm.arm == CORRECT:
            totals.setdefault((arm.task, arm.percent), Counter()).update(arm.repairs)
    names = sorted({name for counts in totals.values() for name in counts} - {"replaced", "right"})
    yield from _head(["task", "noise", "replaced", "of these right", *names])
    for (task, percent), counts in sorted(totals.items()):
        shown = [str(counts[name]) for name in ("replaced", "right", *names)]
        yield _line([task, f"{percent} %", *shown])


def _confidences(figures: Figures, folder: Path) -> Iterator[str]:
    files = {task: folder / f"scores-{task}.json" for task in figures.tasks}
    there = {task: read_scores(path) for task, path in files.items() if path.exists()}
    if not there:
        return
    yield "AUROC of scores for finding the wrong answers, mean over all seeds above"
    yield ""
    yield from _head(["task", "score", *(f"{percent} %" for percent in figures.percents)])
    for task, scores in there.items():
        for name in ("confidence", "rating"):
            cells = [f"{_auroc(scores, name, task, figures, p):.3f}" for p in figures.percents]
            yield _line([task, name, *cells])


def _auroc(scores: Scores, name: str, task: str, figures: Figures, percent: int) -> float:
    pairs = getattr(scores, name)
    rows, _ = rows_of(task, len(pairs), figures.rows)
    found = []
    for seed in figures.seeds():
        wrong = noisy_rows(rows, percent=percent, seed=seed)
        given = [(pair[n in wrong], n in wrong) for n, pair in enumerate(pairs)]
        values, bad = zip(*((v, b) for v, b in given if v is not None), strict=True)
        found.append(detection(values, bad, resamples=1).auroc.value)
    return fmean(found)


def _settings(figures: Figures) -> Iterator[str]:
    settings = next(iter(figures.arms.values())).settings
    yield "Settings: " + ", ".join(f"{name} {value}" for name, value in settings.items())
    complete = [
        seed
        for seed in figures.seeds()
        if all(
            (seed, task, percent, arm) in figures.arms
            for task in figures.tasks
            for percent in figures.percents
            for arm in _arms(figures)
            if arm != ZERO
        )
    ]
    yield f"Seeds: {figures.seeds()}; of {complete} all these arms are there"


def _mean_shown(figures: Figures, task: str, percent: int, arm: str) -> str:
    seeds = figures.seeds_of(task, percent, arm)
    return f"{_shown(figures.mean([task], [percent], arm))}, {seeds}" if seeds else ""


def _shown(found: Estimate | None) -> str:
    return "" if found is None else found.shown()


def _head(names: Sequence[str]) -> Iterator[str]:
    yield _line(names)
    yield _line(["---"] * len(names))


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
