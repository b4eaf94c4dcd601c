"""The work of `benchmarks/clear_small.py`: one worker computes arm after arm, and notes each."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Final, Literal, TypeAlias

from transformers import PreTrainedModel

from benchmarks.clear_small_arms import (
    ARMS,
    CORRECT,
    FEW,
    FILTER,
    FULL,
    ORACLE,
    RANDOM,
    RATING,
    STOPPED,
    ZERO,
    ArmResult,
    TrainingSet,
    Unit,
    as_hex,
    read_arms,
    repair_counts,
    units,
    wrong_rows,
)
from benchmarks.clear_small_judge import Endpoint, Scores, repaired, scores_of
from benchmarks.clear_small_model import Learnt, SmallModel
from benchmarks.clear_small_tasks import TASKS, Row, Task, noisy_rows, rows_of
from benchmarks.results_file import ResultsFile
from clear_pipeline.evaluate.models.metrics import measure
from clear_pipeline.finetune.lora import Lora
from clear_pipeline.finetune.lora.loop import steps_per_epoch
from clear_pipeline.prompts.few_shot import few_shot_messages
from clear_pipeline.schema import Example
from clear_pipeline.stages.score import Score

SHOTS: Final = 4
Equal: TypeAlias = Literal["steps", "epochs"]
_BEGAN: Final = time.monotonic()


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much of everything.

    Attributes:
        train: Rows per task.
        test: Rows per task; the first of `others` are asked.
        others: Rows per task that are drawn beside those to train on. The wrong answers hang on it.
        answer: Tokens that an answer may have; the longest true one has 32.
        percents: Levels of noise.
    """

    train: int = 400
    test: int = 1000
    others: int = 1000
    answer: int = 48
    percents: tuple[int, ...] = (20, 40, 60)


@dataclass(frozen=True, slots=True)
class Answered:
    """Answers of a model to the test rows, measured."""

    right: list[bool]
    fields: float
    valid: float
    seconds: float


class Worker:
    """Computes a share of the units, each arm of them once.

    Args:
        model: Trained and asked.
        endpoint: Scores and judges.
        stage: Makes the confidence.
        sizes: Of all sets.
        training: Settings of every training but for the seed; epochs are those of the full set.
        equal: What all trainings have as many of: updates of the weights, or epochs.
        folder: Of the results.
        number: Of this worker, from 1.
    """

    def __init__(
        self,
        model: SmallModel,
        endpoint: Endpoint,
        stage: Score,
        *,
        sizes: Sizes,
        training: Lora,
        equal: Equal,
        folder: Path,
        number: int = 1,
    ) -> None:
        self._model = model
        self._endpoint = endpoint
        self._stage = stage
        self._sizes = sizes
        self._training = training
        self._equal = equal
        settings = training.model_dump(mode="json", exclude={"base", "seed"})
        self._settings = {
            **settings,
            **asdict(sizes),
            "percents": list(sizes.percents),
            "equal": equal,
            "numbers": model.numbers,
        }
        self._folder = folder
        self._number = number
        self._done = set(read_arms(folder))
        self._file = ResultsFile(folder / f"arms-{number}.jsonl")

    def close(self) -> None:
        """Close the results."""
        self._file.close()

    def run(
        self, seeds: Sequence[int], tasks: Sequence[str], arms: Sequence[str], *, workers: int
    ) -> None:
        """Arms of this worker's share; a seed is complete before the next one begins."""
        trained = [arm for arm in ARMS if arm in arms]
        work = [(unit, trained) for unit in units(seeds, tasks, self._sizes.percents)]
        if ZERO in arms:
            work += [(Unit(0, task, 0), [ZERO]) for task in tasks]
        for unit, wanted in work[self._number - 1 :: workers]:
            missing = [
                a for a in wanted if (unit.seed, unit.task, unit.percent, a) not in self._done
            ]
            if missing:
                self._unit(unit, missing)

    def _unit(self, unit: Unit, arms: Sequence[str]) -> None:
        train, others = rows_of(unit.task, self._sizes.train, self._sizes.others)
        test = others[: self._sizes.test]
        wrong = noisy_rows(train, percent=unit.percent, seed=unit.seed)
        given = TrainingSet(TASKS[unit.task], train, wrong, unit.seed)
        clean = {row.id: row.clean for row in train}
        filtered: list[Learnt] = []
        for arm in arms:
            began = time.monotonic()
            if arm == CORRECT and not filtered:  # a stop came between the two arms
                filtered.append(self._trained(FILTER, self._rows(FILTER, given), given))
            rows, repairs = self._rows(arm, given), dict[str, int]()
            if arm == CORRECT:
                rows, repairs = self._corrected(rows, filtered[0], given)
            learnt = self._trained(arm, rows, given) if rows else None
            if arm == FILTER and learnt is not None:
                filtered.append(learnt)
            train_s = time.monotonic() - began
            found = self._answered(learnt, given, test, given.shots(SHOTS) if arm == FEW else [])
            result = ArmResult(
                seed=unit.seed,
                task=unit.task,
                percent=unit.percent,
                arm=arm,
                settings=self._settings,
                rows=len(rows),
                noisy=wrong_rows(rows, clean),
                steps=0 if learnt is None else learnt.best_step,
                right=as_hex(found.right),
                fields=found.fields,
                valid=found.valid,
                train_s=round(train_s, 2),
                predict_s=round(found.seconds, 2),
                repairs=repairs,
            )
            self._file.add(result)
            self._tell(result, sum(found.right) / len(found.right))

    def _rows(self, arm: str, given: TrainingSet) -> list[Example]:
        """What an arm is trained on; of auto-correct, the half that the filter keeps."""
        everything = list(range(len(given.rows)))
        if arm in (FULL, STOPPED):
            numbers = everything
        elif arm == RANDOM:
            numbers = given.random_half()
        elif arm in (FILTER, CORRECT):
            numbers = given.best_half(given.observed(self._scores(given).confidence))
        elif arm == RATING:
            numbers = given.best_half(given.observed(self._scores(given).rating), draw=True)
        elif arm == ORACLE:
            numbers = [n for n in everything if n not in given.wrong]
        else:
            numbers = []
        return given.examples(numbers)

    def _scores(self, given: TrainingSet) -> Scores:
        return scores_of(given.task.name, given.rows, self._stage, self._endpoint, self._folder)

    def _trained(self, arm: str, rows: Sequence[Example], given: TrainingSet) -> Learnt:
        held = given.validation() if arm == STOPPED else set()
        names = {given.rows[number].id for number in held}
        learnt = [row for row in rows if row.id not in names]
        epochs = self._training.epochs
        if self._equal == "steps":
            epochs = epochs_for_steps_of(self._training, len(given.rows), rows=len(learnt))
        return self._model.trained(
            self._training.model_copy(update={"seed": given.seed, "epochs": epochs}),
            learnt,
            valid=[row for row in rows if row.id in names],
        )

    def _corrected(
        self, kept: list[Example], filtered: Learnt, given: TrainingSet
    ) -> tuple[list[Example], dict[str, int]]:
        """The kept rows and those of the others whose candidate was preferred."""
        names = {row.id for row in kept}
        low = [row for row in given.examples(range(len(given.rows))) if row.id not in names]
        prompts = [row.messages for row in low]
        said = self._model.answers(filtered.model, prompts, max_tokens=self._sizes.answer)
        cache = self._folder / f"verdicts-{self._number}.sqlite"
        repairs = repaired(low, said, self._endpoint, cache)
        new = [
            given.task.example(given.rows[row.line - 1], each.text)
            for row, each in zip(low, repairs, strict=True)
            if each.text is not None
        ]
        clean = {row.id: row.clean for row in given.rows}
        right = len(new) - wrong_rows(new, clean)
        return [*kept, *new], repair_counts([each.outcome for each in repairs], right)

    def _answered(
        self,
        learnt: Learnt | None,
        given: TrainingSet,
        test: Sequence[Row],
        shots: Sequence[Example],
    ) -> Answered:
        model = self._model.base if learnt is None else learnt.model
        return answered(self._model, model, given.task, test, shots, max_tokens=self._sizes.answer)

    def _tell(self, result: ArmResult, exact: float) -> None:
        say(
            f"worker {self._number}: seed {result.seed} {result.task} {result.percent} % "
            f"{result.arm}: {result.rows} rows, {result.noisy} wrong, trained {result.train_s:.1f} "
            f"s, answered {result.predict_s:.1f} s, exact match {exact:.3f} "
            f"{dict(result.repairs) or ''}"
        )


def epochs_for_steps_of(training: Lora, full: int, *, rows: int) -> int:
    """In how many epochs so many rows get the updates that the full set gets in its epochs.

    An epoch is not cut, so that they are more by less than one epoch's updates.
    """
    wanted = training.epochs * steps_per_epoch(training, full)
    return math.ceil(wanted / steps_per_epoch(training, rows))


def answered(
    small: SmallModel,
    model: PreTrainedModel,
    task: Task,
    test: Sequence[Row],
    shots: Sequence[Example],
    *,
    max_tokens: int,
) -> Answered:
    """Ask a model for the answer to every test row, with `shots` before it, and measure them."""
    began = time.monotonic()
    rows = [task.example(row, row.clean) for row in test]
    prompts = [few_shot_messages(row, shots) for row in rows]
    said = small.answers(model, prompts, max_tokens=max_tokens)
    values = [measure(row, choice.text) for row, choice in zip(rows, said, strict=True)]
    return Answered(
        right=[each["exact_match"] == 1 for each in values],
        fields=_mean([each["json_fields"] for each in values]),
        valid=_mean([each["json_valid"] for each in values]),
        seconds=time.monotonic() - began,
    )


def say(text: str) -> None:
    """A line about what is done, with the seconds since this program was started."""
    print(f"{time.monotonic() - _BEGAN:6.1f} s  {text}", file=sys.stderr, flush=True)


def _mean(values: Sequence[float | None]) -> float:
    return round(fmean(value or 0.0 for value in values), 4)
