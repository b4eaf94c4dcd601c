"""Learning rate and epochs of `benchmarks/clear_small.py`, chosen on rows that nothing reports.

A whole set without noise is learnt from, so that it has the updates of the full set, and what
answers other rows best is taken: no arm, no noise and no row of the report has a say.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from statistics import fmean
from typing import Final

from benchmarks.clear_small_model import SmallModel
from benchmarks.clear_small_run import answered, say
from benchmarks.clear_small_tasks import TASKS, rows_of
from benchmarks.results_file import ResultsFile, read_lines
from clear_pipeline.finetune.lora import Lora

_SEED: Final = 101
_TEST: Final = 300


@dataclass(frozen=True, slots=True)
class Tried:
    """Exact match after a training with such settings, as a line of a results file."""

    task: str
    learning_rate: float
    epochs: int
    rows: int
    exact: float


def tune(
    small: SmallModel,
    settings: Lora,
    folder: Path,
    *,
    worker: tuple[int, int],
    tasks: Sequence[str],
    max_tokens: int,
    grid: Sequence[tuple[int, float]],
    rows: int,
) -> None:
    """Try this worker's share of the settings that were not tried yet.

    Args:
        small: The model.
        settings: All others of the training.
        folder: Of the results.
        worker: Which, of how many.
        tasks: To try each on.
        max_tokens: Of an answer.
        grid: How often each row is learnt from, and the peak of the learning rate.
        rows: To learn from.
    """
    number, workers = worker
    known = {(each.task, each.learning_rate, each.epochs) for each in read_tried(folder)}
    share = list(product(grid, tasks))[number - 1 :: workers]
    left = [(t, rate, count) for (count, rate), t in share if (t, rate, count) not in known]
    with closing(ResultsFile(folder / f"tune-{number}.jsonl")) as file:
        for task, rate, count in left:
            values = {"learning_rate": rate, "epochs": count, "seed": _SEED}
            own = settings.model_copy(update=values)
            train, test = rows_of(task, rows, _TEST, pool="tune")
            learnt_from = [TASKS[task].example(row, row.clean) for row in train]
            learnt = small.trained(own, learnt_from, valid=[])
            found = answered(small, learnt.model, TASKS[task], test, [], max_tokens=max_tokens)
            exact = sum(found.right) / len(found.right)
            file.add(Tried(task, rate, count, rows, exact))
            say(f"tune {task}: {rate:g}, {count} epochs: {exact:.3f}")


def read_tried(folder: Path) -> list[Tried]:
    """What was tried, by all workers."""
    return [Tried(**line) for line in read_lines(*sorted(folder.glob("tune-*.jsonl")))]


def at_edge(folder: Path, settings: Lora) -> list[str]:
    """Which of the chosen settings may be better still beyond what was tried.

    The most epochs and either end of the rates; fewer epochs than were tried learn less.
    """
    tried = read_tried(folder)
    rates, epochs = {each.learning_rate for each in tried}, {each.epochs for each in tried}
    found = []
    if tried and settings.epochs == max(epochs):
        found.append(f"{settings.epochs} epochs")
    if tried and settings.peak_rate in (min(rates), max(rates)):
        found.append(f"rate {settings.peak_rate:g}")
    return found


def chosen(folder: Path, settings: Lora) -> Lora:
    """The settings with the best mean over tasks, of equal ones with the least training.

    What was not tried on as many tasks as another has no say; without any, `settings` stay.
    """
    found: dict[tuple[int, float], list[float]] = defaultdict(list)
    for each in read_tried(folder):
        found[each.epochs, each.learning_rate].append(each.exact)
    if not found:
        return settings
    most = max(map(len, found.values()))
    whole = {key: fmean(values) for key, values in found.items() if len(values) == most}
    epochs, rate = max(sorted(whole), key=lambda key: whole[key])
    return settings.model_copy(update={"learning_rate": rate, "epochs": epochs})
