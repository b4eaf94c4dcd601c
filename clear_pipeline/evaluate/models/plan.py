"""What an evaluation will ask: the test rows, and the examples before each question."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from clear_pipeline.evaluate.models.arms import Arm, EvaluationSettings
from clear_pipeline.evaluate.models.held_out import (
    HeldOut,
    Leak,
    draw_examples,
    leak,
    read_held_out,
)
from clear_pipeline.llm.budget import count_of
from clear_pipeline.load import Data
from clear_pipeline.schema import Example


@dataclass(frozen=True, slots=True)
class EvaluationPlan:
    """What will be asked.

    Attributes:
        test: The test rows.
        shots: By arm, the examples before each question.
        leaks: By training file, what of the test rows stands there.
    """

    test: HeldOut
    shots: Mapping[str, Sequence[Example]]
    leaks: tuple[Leak, ...]

    def remarks(self) -> Iterator[str]:
        """What to know before anything is asked, a line each."""
        yield from self.test.remarks()
        for found in self.leaks:
            if found.rows + found.prompts:
                yield found.warning()
        rows, arms = len(self.test.rows), len(self.shots)
        yield (
            f"evaluation: {count_of(rows, 'row')} for each of {count_of(arms, 'arm')}, "
            f"{count_of(rows * arms, 'answer')}"
        )


def make_plan(
    settings: EvaluationSettings, data: Data, train: Sequence[str | Path]
) -> EvaluationPlan:
    """Read the test set and the files beside it; see `ModelEvaluation.plan`."""
    load = settings.load
    test = read_held_out(data, load)

    def shots(arm: Arm) -> tuple[Example, ...]:
        if arm.examples is None:
            return ()
        return draw_examples(arm.examples, load, count=arm.few_shot, seed=arm.seed, test=test)

    return EvaluationPlan(
        test=test,
        shots={arm.name: shots(arm) for arm in settings.arms},
        leaks=tuple(leak(test, file, load) for file in train),
    )
