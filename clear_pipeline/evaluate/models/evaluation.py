"""An evaluation from its test file to its files."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from clear_pipeline import __version__
from clear_pipeline.config import Config
from clear_pipeline.durable import write_text_atomically
from clear_pipeline.errors import BudgetExceededError, UsageError
from clear_pipeline.evaluate.models.arms import JUDGE, Arm, EvaluationSettings
from clear_pipeline.evaluate.models.asked import enter, require_own_answers
from clear_pipeline.evaluate.models.figures import Answers, compare
from clear_pipeline.evaluate.models.judge import Mark, judge
from clear_pipeline.evaluate.models.outcomes import Outcomes
from clear_pipeline.evaluate.models.picture import picture
from clear_pipeline.evaluate.models.plan import EvaluationPlan, make_plan
from clear_pipeline.evaluate.models.predict import TEMPERATURE, Prediction, predict
from clear_pipeline.evaluate.models.report import (
    REPORT,
    ArmReport,
    EvaluationReport,
    Figure,
    LeakReport,
)
from clear_pipeline.llm.base import ChatModel
from clear_pipeline.llm.catalog import embedded_model
from clear_pipeline.llm.open import model_identity
from clear_pipeline.llm.settings import ModelSettings
from clear_pipeline.load import Data
from clear_pipeline.manifest import Manifest
from clear_pipeline.model_pool import ModelPool, Shared
from clear_pipeline.own_loop import in_own_loop
from clear_pipeline.schema import Example
from clear_pipeline.stages.base import Progress, SilentProgress, map_rows
from clear_pipeline.store import Store

PICTURE: Final = "evaluation.svg"
_ROLE: Final = "scorer"
"""Of the one model that is open at a time."""


class ModelEvaluation:
    """Asks every arm the test rows, measures the answers and compares the arms.

    Args:
        settings: The arms, and how they are compared.
        models: Ready models by the name of the arm, or `judge`, instead of the configured ones.
        progress: Where long steps report.
        shared: What it has in common with other work: answers, and caps over all of it.

    Example:
        >>> evaluation = ModelEvaluation(read_settings(Path("arms.yaml")))
        >>> report = evaluation.run(evaluation.plan("test.jsonl"), out="runs/evaluation")
        >>> report.differences[0].figures[0].value
    """

    def __init__(
        self,
        settings: EvaluationSettings,
        *,
        models: Mapping[str, ChatModel] | None = None,
        progress: Progress | None = None,
        shared: Shared | None = None,
    ) -> None:
        self._shared = shared
        self.settings = settings
        self._models = dict(models or {})
        self._progress = progress or SilentProgress()
        self._spend = ""

    @property
    def spend(self) -> str:
        """Calls, tokens and dollars over all resumes in words; "" before the first call."""
        return self._spend

    def plan(self, data: Data, *, train: Sequence[str | Path] = ()) -> EvaluationPlan:
        """Read the test set and the files beside it; no call is made.

        Args:
            data: The test set.
            train: Training files that no test row should stand in.

        Raises:
            NothingReadableError: A file holds no row with a response.
            UsageError: Examples are wanted that are not there.
        """
        return make_plan(self.settings, data, train)

    def run(self, plan: EvaluationPlan, *, out: str | Path) -> EvaluationReport:
        """Ask and compare; works inside a running event loop too.

        Answers are kept in `out`: after a kill the same call goes on where it was, and asks
        nothing twice. Writes `predictions-ARM.jsonl` for every arm, evaluation.json and
        evaluation.svg.

        Raises:
            UsageError: `out` is a run directory, or holds the answers of another arm to the same
                questions.
            RunFailedError: A server is gone, or an arm or the judge answers nothing; the same
                call resumes.
            BudgetExceededError: A cap was reached; the same call with a higher one goes on.
        """
        store = Store(Path(out))
        if Manifest.read(store.directory) is not None:
            raise UsageError(f"{out}: is a run directory; give the evaluation another --out")
        with store.locked(self._progress.note):
            for note in require_own_answers(store.directory, self.settings):
                self._progress.note(note)
            answers = in_own_loop(self._answers(plan, store.directory))
            report = self._report(plan, answers)
            write_text_atomically(store.directory / PICTURE, picture(report))
            text = report.model_dump_json(indent=1)
            write_text_atomically(store.directory / REPORT, text + "\n")
        return report

    async def _answers(self, plan: EvaluationPlan, directory: Path) -> dict[str, Answers]:
        rows = plan.test.rows
        try:
            made = {}
            for arm in self.settings.arms:
                predictions = await self._predict(arm, rows, plan.shots[arm.name], directory)
                made[arm.name] = Answers.of(rows, predictions)
                _write_predictions(directory, arm, rows, made[arm.name])
            if self.settings.judge is not None:
                made = await self._judged(rows, made, directory)
                for arm in self.settings.arms:
                    _write_predictions(directory, arm, rows, made[arm.name])
        except BudgetExceededError as error:
            shown = "what was answered is kept and is not asked again"
            raise error.with_work_left(f"The evaluation is not finished; {shown}") from None
        return made

    async def _predict(
        self, arm: Arm, rows: Sequence[Example], shots: Sequence[Example], directory: Path
    ) -> list[Prediction]:
        async with self._open(arm.name, arm.model, directory) as pool:
            model = (await pool.open([_ROLE]))[_ROLE]
            enter(directory, arm)
            self._progress.start(arm.name, len(rows))
            try:
                return await predict(
                    model,
                    rows,
                    shots=shots,
                    max_tokens=self.settings.max_answer_tokens,
                    rows_in_flight=pool.rows_in_flight([_ROLE]),
                    advance=lambda: self._advance(pool),
                )
            finally:
                self._progress.finish()

    async def _judged(
        self, rows: Sequence[Example], made: Mapping[str, Answers], directory: Path
    ) -> dict[str, Answers]:
        """The answers with marks; those of the baseline's first arm are the rivals."""
        asked = self.settings.judge
        assert asked is not None  # noqa: S101 - the caller's condition, for the type checker
        rival = made[self.settings.groups[self.settings.base][0].name].predictions
        judged = {}
        outcomes = Outcomes(len(rows), wanted="answers got a mark of the judge")
        async with self._open(JUDGE, asked.model, directory) as pool:
            model = (await pool.open([_ROLE]))[_ROLE]
            enter(directory, asked)

            async def mark(pair: tuple[Example, Prediction, Prediction]) -> Mark:
                row, own, other = pair
                found = await judge(model, row, own.text, form=asked.form, rival=other.text)
                if found.was_asked:
                    outcomes.enter(found.error)
                self._advance(pool)
                return found

            for name, answers in made.items():
                self._progress.start(f"judge: {name}", len(rows))
                pairs = list(zip(rows, answers.predictions, rival, strict=True))
                try:
                    limit = pool.rows_in_flight([_ROLE])
                    marks = await map_rows(mark, pairs, limit=limit)
                finally:
                    self._progress.finish()
                judged[name] = replace(answers, marks=marks)
        return judged

    @asynccontextmanager
    async def _open(
        self, name: str, model: ModelSettings, directory: Path
    ) -> AsyncIterator[ModelPool]:
        """One model with cache, limits and budget; all of them share the directory's."""
        given = {_ROLE: self._models[name]} if name in self._models else {}
        config = Config(models={_ROLE: model}, budget=self.settings.budget)
        note = self._progress.note
        pool = ModelPool(
            config, given, directory=directory, spent={}, note=note, shared=self._shared
        )
        try:
            yield pool
            self._spend = pool.spend()
        finally:
            await pool.close()

    def _advance(self, pool: ModelPool) -> None:
        self._progress.spent(pool.spend)
        self._progress.advance()

    def _report(self, plan: EvaluationPlan, answers: Mapping[str, Answers]) -> EvaluationReport:
        settings, asked, test = self.settings, self.settings.judge, plan.test
        groups = {
            name: {arm.name: answers[arm.name] for arm in arms}
            for name, arms in settings.groups.items()
        }
        found = compare(
            groups, baseline=settings.base, resamples=settings.resamples, seed=settings.seed
        )
        return EvaluationReport(
            package_version=__version__,
            dataset=test.name,
            digest=test.digest,
            rows=len(test.rows),
            left_out=len(test.unusable),
            leaks=tuple(
                LeakReport(file=x.file, rows=x.rows, prompts=x.prompts) for x in plan.leaks
            ),
            temperature=TEMPERATURE,
            max_answer_tokens=settings.max_answer_tokens,
            baseline=settings.base,
            judge=None if asked is None else f"{asked.model.model}, {asked.form}",
            arms=tuple(
                self._arm(arm, plan.shots[arm.name], answers[arm.name], found.arms[arm.name])
                for arm in settings.arms
            ),
            groups=found.groups,
            differences=found.differences,
        )

    def _arm(
        self, arm: Arm, shots: Sequence[Example], answers: Answers, figures: tuple[Figure, ...]
    ) -> ArmReport:
        given = self._models.get(arm.name)
        here = given is not None or embedded_model(arm.model) is not None
        return ArmReport(
            name=arm.name,
            group=arm.group,
            model=arm.model.model,
            endpoint="in this process" if here else arm.model.url,
            identity=model_identity(arm.model) if given is None else given.identity,
            few_shot=arm.few_shot,
            shots=tuple(shot.id for shot in shots),
            answered=answers.answered,
            cut=sum(made.cut for made in answers.predictions),
            unanswered=answers.unanswered(),
            unjudged=answers.unjudged(),
            figures=figures,
        )


def predictions_file(arm: str) -> str:
    """Name of the file with an arm's answers."""
    return f"predictions-{arm}.jsonl"


def _write_predictions(
    directory: Path, arm: Arm, rows: Sequence[Example], answers: Answers
) -> None:
    """A line per test row: its id, the answer, the reference, and every metric."""
    lines = []
    for number, (row, made) in enumerate(zip(rows, answers.predictions, strict=True)):
        line: dict[str, Any] = {"id": row.id, "arm": arm.name, "prediction": made.text}
        line |= {"error": made.error, "cut": made.cut, "reference": row.response}
        line |= answers.measured[number] or {}
        if answers.marks is not None:
            mark = answers.marks[number]
            line |= {"judge": mark.value, "judge_error": mark.error}
        lines.append(json.dumps(line, ensure_ascii=False) + "\n")
    # A reference may hold half of a character, which no file can.
    text = "".join(lines).encode("utf-8", "replace").decode()
    write_text_atomically(directory / predictions_file(arm.name), text)
