"""One round of CLEAR: each step goes on where it was stopped, and none that is over is repeated."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from clear_pipeline.config import Config
from clear_pipeline.estimate import Estimate
from clear_pipeline.finetune import Price, TrainingContext, read_trained
from clear_pipeline.finetune.price import hold
from clear_pipeline.foresight import Tell
from clear_pipeline.llm.settings import ModelSettings
from clear_pipeline.loop.measure import BASE, TUNED, Lineup, Measured, arm_of, measure
from clear_pipeline.loop.progress import RoundProgress
from clear_pipeline.loop.record import LoopRecord, Reference, RoundRecord
from clear_pipeline.loop.rows import LeftOut, asked_in, require_enough, write_rows, write_test
from clear_pipeline.loop.settings import LoopConfig
from clear_pipeline.loop.spend import agreed_to, as_spent, spent_before, spent_beside, spent_in
from clear_pipeline.loop.training import Tuned, has_begun, train
from clear_pipeline.model_pool import Shared
from clear_pipeline.pipeline import Pipeline
from clear_pipeline.run import Run
from clear_pipeline.stages.filter import Confidence, Filter, Precision
from clear_pipeline.store import CACHE

RUN, FINAL, EVALUATION, ROWS, TEST = "run", "final", "evaluation", "rows.jsonl", "test.jsonl"
"""What lies in the folder of a round, and the test rows beside all of them."""


def _nothing(_: object) -> None:
    """Nobody asks."""


@dataclass(frozen=True, slots=True)
class Consent:
    """Who is told what is about to be spent, and may raise to stop it.

    Attributes:
        begin: What the first round will ask, where that costs something.
        calls: What a run is about to ask.
        training: What a training costs.
    """

    begin: Callable[[Estimate], None] = field(default=_nothing)
    calls: Callable[[Estimate], None] = field(default=_nothing)
    training: Callable[[Price], None] = field(default=_nothing)


class Round:
    """One round.

    Args:
        number: From 1.
        plan: Of the loop.
        loop: Directory of the loop.
        progress: Where to report.
        consent: Who is asked.
    """

    def __init__(
        self, number: int, plan: LoopConfig, loop: Path, progress: RoundProgress, consent: Consent
    ) -> None:
        self._number = number
        self._plan = plan
        self._loop = loop
        self._progress = progress
        self._consent = consent
        self._folder = loop / arm_of(number)

    def run(self, data: str | Path, record: LoopRecord, base: ModelSettings | None) -> LoopRecord:
        """Go round once.

        Args:
            data: DATA of the loop.
            record: Of the rounds before.
            base: The model that is trained, as it is asked; None = it is not.

        Returns:
            The record with this round.

        Raises:
            RunFailedError: A step stopped; the same call goes on.
            BudgetExceededError: A cap was reached; the same call with a higher one goes on.
            BatchPendingError: Others compute; the same call asks again.
        """
        self._plan.require_general_rows()
        self._folder.mkdir(parents=True, exist_ok=True)
        if self._number == 1:
            writer = self._sifted(data)
        else:
            data, writer = self._next_rows(), self._plan.priced(record.rounds[-1].model)
        run = self._curated(data, writer)
        tuned = self._tuned(run)
        models = self._models(record, base, writer) | {
            arm_of(self._number): self._plan.priced(tuned.trained.model)
        }
        before = arm_of(self._number - 1) if self._number > 1 else next(iter(models))
        measured = self._measured(models, before, tuned.file)
        return self._recorded(record, run, writer, tuned, models, before, measured)

    def _sifted(self, data: str | Path) -> ModelSettings:
        """The model that is trained on what the filter keeps: who writes the first candidates."""
        folder = self._folder / TUNED
        if (done := read_trained(folder)) is None:
            if has_begun(self._plan.trainer, folder, self._progress):
                run = Run(self._folder / RUN)
            else:
                self._progress.step("score and filter")
                sifting = self._pipeline(self._plan.sifting(), before_calls=self._enough)
                run = sifting.run(data, out=self._folder / RUN)
                if self._plan.test is None:
                    write_test(run, self._loop / TEST, self._plan.settings)
            self._progress.step("train on the rows that the filter keeps")
            done = self._train(run, folder).trained
        return self._plan.priced(done.model)

    def _next_rows(self) -> Path:
        """The rows that this round begins with, as the one before left them."""
        path = self._folder / ROWS
        if not path.is_file():
            before = Run(self._loop / arm_of(self._number - 1) / RUN)
            write_rows(before, path, self._left_out())
        return path

    def _curated(self, data: str | Path, writer: ModelSettings) -> Run:
        if has_begun(self._plan.trainer, self._folder / FINAL, self._progress):
            return Run(self._folder / RUN)
        self._progress.step(f"candidates by {writer.model}, judged")
        threshold = self._threshold() if self._number > 1 else None
        config = self._plan.curating(writer, threshold, later=self._number > 1)
        return self._pipeline(config).run(data, out=self._folder / RUN)

    def _tuned(self, run: Run) -> Tuned:
        self._progress.step("train on the curated rows")
        return self._train(run, self._folder / FINAL)

    def _measured(self, models: Mapping[str, ModelSettings], before: str, train: Path) -> Measured:
        self._progress.step("measure on held-out rows")
        out = self._folder / EVALUATION
        return measure(
            self._plan,
            Lineup(models, newest=arm_of(self._number), before=before),
            test=self._test,
            train=train,
            out=out,
            shared=self._shared(out),
            progress=self._progress,
        )

    def _recorded(
        self,
        record: LoopRecord,
        run: Run,
        writer: ModelSettings,
        tuned: Tuned,
        models: Mapping[str, ModelSettings],
        before: str,
        measured: Measured,
    ) -> LoopRecord:
        done = RoundRecord(
            round=self._number,
            rows=run.manifest.fates,
            train_rows=tuned.rows,
            writer=writer,
            model=tuned.trained.model,
            training=tuned.trained.summary,
            figures=measured.figures[arm_of(self._number)],
            compared_with=before,
            gains=measured.gains,
            leaks=tuple(each for each in measured.leaks if each.rows + each.prompts),
            spent=as_spent(spent_in(self._folder)),
        )
        references = record.references or tuple(
            Reference(name=name, model=model, figures=measured.figures[name])
            for name, model in models.items()
            if name in (BASE, TUNED)
        )
        return record.model_copy(
            update={
                "rounds": (*record.rounds, done),
                "references": references,
                "test_rows": measured.rows,
            }
        )

    def _models(
        self, record: LoopRecord, base: ModelSettings | None, writer: ModelSettings
    ) -> dict[str, ModelSettings]:
        """Who this round's model is compared with, by name; the first one is round 0."""
        if self._number == 1:
            first = {} if base is None else {BASE: self._plan.priced(base)}
            return {**first, TUNED: writer}
        earlier = {each.name: each.model for each in record.references}
        rounds = {arm_of(each.round): self._plan.priced(each.model) for each in record.rounds}
        return {**earlier, **rounds}

    @property
    def _test(self) -> Path:
        return self._plan.test or self._loop / TEST

    def _train(self, run: Run, folder: Path) -> Tuned:
        def agree(price: Price) -> None:
            ctx = TrainingContext(folder, self._progress)
            lost = self._plan.trainer.standing(ctx) == "lost"
            spent = spent_before(self._loop, folder, lost=lost).spent
            hold(price, cap=self._plan.config.budget.max_usd, spent=spent.usd)
            self._consent.training(price)
            if price.usd:
                agreed_to(folder, price.usd, lost=lost)

        return train(
            self._plan,
            run,
            folder,
            test=self._test,
            progress=self._progress,
            left_out=self._left_out(),
            agree=agree,
        )

    def _enough(self, estimate: Estimate) -> None:
        """Before the first score: stop where no score can leave enough rows to train on."""
        if self._plan.balance.mix is None:
            read = Run(self._folder / RUN).manifest.counts()["rows"]
            require_enough(read, self._filter)
        self._consent.calls(estimate)

    @property
    def _filter(self) -> Filter:
        return next(stage for stage in self._plan.config.stages if isinstance(stage, Filter))

    def _pipeline(self, config: Config, before_calls: Tell | None = None) -> Pipeline:
        return Pipeline(
            config,
            progress=self._progress,
            before_calls=before_calls or self._consent.calls,
            shared=self._shared(self._folder / RUN),
        )

    def _shared(self, directory: Path) -> Shared:
        return Shared(self._loop / CACHE, spent_beside(self._loop, directory))

    def _left_out(self) -> LeftOut | None:
        """The test rows of the loop's own, and others that ask the same."""
        if self._plan.test is not None:
            return None
        return asked_in(self._loop / TEST, self._plan.config.load)

    def _threshold(self) -> float | None:
        """From which confidence the first filter kept rows; None where no rank decided it."""
        if isinstance(self._filter.keep, Precision | Confidence):
            return None
        first = Run(self._loop / arm_of(1) / RUN)
        for shard in first.shards(only=("filter",)):
            for value in shard.table["threshold"].to_pylist():
                if value is not None:
                    return float(value)
        return None
