"""The arms of `benchmarks/clear_small.py`: on which rows each is trained, and what came of it."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.clear_small_tasks import Row, Task
from benchmarks.results_file import read_lines
from clear_pipeline.schema import Example, content_hash
from clear_pipeline.scoring.answers import exact_match
from clear_pipeline.stages.ranking import Ranking

ZERO, FEW, FULL, RANDOM = "zero-shot", "few-shot", "full", "random half"
RATING, FILTER, CORRECT = "rating half", "auto-filter", "auto-correct"
STOPPED, ORACLE = "full, stopped early", "clean rows only"
ARMS: Final = (FULL, RANDOM, FILTER, CORRECT, RATING, FEW, STOPPED, ORACLE)
"""In the order in which they are computed. `full, stopped early` is trained on the full set
less a tenth of it, on which the step with the least loss is found; no other arm is stopped."""
MAIN_ARMS: Final = (FULL, RANDOM, FILTER, CORRECT)
"""Those of the paper: what `measure` computes unless told."""


@dataclass(frozen=True, slots=True)
class Unit:
    """One noisy training set.

    Attributes:
        seed: Decides which rows are noisy, the random half, order of rows and new weights.
        task: Its name.
        percent: Of the rows that are noisy.
    """

    seed: int
    task: str
    percent: int


@dataclass(frozen=True, slots=True)
class ArmResult:
    """One trained arm, as a line of a results file.

    Attributes:
        seed: As in `Unit`; 0 for `zero-shot`.
        task: As in `Unit`.
        percent: As in `Unit`; 0 for `zero-shot`.
        arm: Its name.
        settings: Of training, and the sizes; arms of other settings are never compared.
        rows: It was trained on so many.
        noisy: So many of them have an answer that is not right.
        steps: Updates of the weights.
        right: Per test row one bit, the first the highest: exact match; hexadecimal.
        fields: Mean share of right fields.
        valid: Share of answers that are JSON.
        train_s: Seconds of the training.
        predict_s: Seconds of the predictions.
        repairs: Of `auto-correct`, candidates by what became of them; `right` of those replaced.
    """

    seed: int
    task: str
    percent: int
    arm: str
    settings: Mapping[str, object]
    rows: int
    noisy: int
    steps: int
    right: str
    fields: float
    valid: float
    train_s: float
    predict_s: float
    repairs: Mapping[str, int] = field(default_factory=dict)

    @property
    def key(self) -> tuple[int, str, int, str]:
        """What it is a result of."""
        return self.seed, self.task, self.percent, self.arm


def read_arms(place: Path) -> dict[tuple[int, str, int, str], ArmResult]:
    """All arms that are finished, from the files of all workers in a folder, or from one file."""
    files = [place] if place.is_file() else sorted(place.glob("arms-*.jsonl"))
    lines = read_lines(*files)
    return {arm.key: arm for arm in (ArmResult(**line) for line in lines)}


def units(seeds: Sequence[int], tasks: Sequence[str], percents: Sequence[int]) -> list[Unit]:
    """All units; a seed is complete before the next one begins."""
    return [Unit(seed, task, percent) for seed in seeds for percent in percents for task in tasks]


def as_hex(right: Sequence[bool]) -> str:
    """Bits as text; the first row is the highest bit."""
    return np.packbits(np.array(right, np.bool_)).tobytes().hex()


def from_hex(text: str, rows: int) -> np.ndarray:
    """The bits of `as_hex` as 0.0 and 1.0."""
    return np.unpackbits(np.frombuffer(bytes.fromhex(text), np.uint8))[:rows].astype(np.float64)


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """The noisy rows of a unit.

    Attributes:
        task: Makes examples.
        rows: The pool.
        wrong: Numbers of the rows that have their wrong answer.
        seed: Of the unit.
    """

    task: Task
    rows: Sequence[Row]
    wrong: frozenset[int]
    seed: int

    def example(self, number: int, response: str | None = None) -> Example:
        """A row with the answer that it has here, or another."""
        row = self.rows[number]
        given = row.wrong if number in self.wrong else row.clean
        return self.task.example(row, given if response is None else response)

    def examples(self, numbers: Sequence[int]) -> list[Example]:
        """Several rows."""
        return [self.example(number) for number in numbers]

    def observed(self, pairs: Sequence[tuple[float | None, float | None]]) -> list[float | None]:
        """Of scores for both answers of each row, those for the answer that it has here."""
        return [pair[number in self.wrong] for number, pair in enumerate(pairs)]

    def random_half(self) -> list[int]:
        """As many rows as the confident half has, drawn by the seed."""
        rng = random.Random(f"half {self.seed}")
        return sorted(rng.sample(range(len(self.rows)), math.ceil(len(self.rows) / 2)))

    def best_half(self, scores: Sequence[float | None], *, draw: bool = False) -> list[int]:
        """The half with the highest scores; rows without one are left out.

        Args:
            scores: One per row.
            draw: Ties are decided by the seed in place of the content hash.
        """
        there = [number for number, score in enumerate(scores) if score is not None]
        rng = random.Random(f"ties {self.seed}")
        keys = [
            (
                float(scores[number] or 0.0),
                f"{rng.random():.12f}" if draw else self._hash(number),
                self.rows[number].id,
            )
            for number in there
        ]
        chosen = Ranking.of_keys(keys).first(math.ceil(len(there) / 2))
        return [number for number, stays in zip(there, chosen, strict=True) if stays]

    def _hash(self, number: int) -> str:
        row = self.example(number)
        return content_hash(row.messages, row.target, row.tools)

    def validation(self) -> list[int]:
        """A tenth of the rows, drawn by the seed."""
        rng = random.Random(f"validation {self.seed}")
        return sorted(rng.sample(range(len(self.rows)), max(1, len(self.rows) // 10)))

    def shots(self, count: int) -> list[Example]:
        """Rows for a prompt, as they stand in the noisy set."""
        rng = random.Random(f"shots {self.seed}")
        return self.examples(rng.sample(range(len(self.rows)), count))


def wrong_rows(rows: Sequence[Example], clean: Mapping[str, str]) -> int:
    """How many have another answer than the true one.

    Args:
        rows: Of one task.
        clean: The true answers, by id.
    """
    return sum(not exact_match(clean[row.id], row.response) for row in rows)


def repair_counts(outcomes: Sequence[str], right: int) -> dict[str, int]:
    """Candidates by what became of them, and how many of those that replaced are right."""
    return {**dict(sorted(Counter(outcomes).items())), "right": right}
