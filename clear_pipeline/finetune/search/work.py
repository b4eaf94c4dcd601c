"""A search from its files to its choice: the order of things."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Final

from clear_pipeline.durable import write_text_atomically
from clear_pipeline.errors import RunFailedError, UsageError
from clear_pipeline.finetune.base import SearchableTrainer, TrainingContext, TrainingData
from clear_pipeline.finetune.claim import Claim
from clear_pipeline.finetune.rows import training_records
from clear_pipeline.finetune.search.attempt import Attempt
from clear_pipeline.finetune.search.choice import difference, explained
from clear_pipeline.finetune.search.folds import parts_of
from clear_pipeline.finetune.search.picture import search_svg
from clear_pipeline.finetune.search.records import Records, SearchClaim
from clear_pipeline.finetune.search.report import SearchReport, Trial, shown
from clear_pipeline.finetune.search.sampler import importance, proposed, require_optuna
from clear_pipeline.finetune.search.settings import SearchSettings, trials_of
from clear_pipeline.finetune.search.space import Axis, Value
from clear_pipeline.finetune.work import check, require_no_run
from clear_pipeline.journal import digest
from clear_pipeline.report.text import one_line
from clear_pipeline.stages.base import Progress
from clear_pipeline.store import Store

FOLDER: Final = "search"
REPORT: Final = "search.json"
PICTURE: Final = "search.svg"
_NAME: Final = 16
"""Digits of a digest that name the folder of a trial."""


async def search(
    trainer: SearchableTrainer,
    data: TrainingData,
    ctx: TrainingContext,
    settings: SearchSettings,
    axes: Sequence[Axis],
) -> SearchReport:
    """Try settings until there are trials enough; those of an earlier call count.

    Args:
        trainer: With the settings that are not searched.
        data: The files of the training that will follow.
        ctx: Of that training: its folder gets `search.json`, `search.svg` and the folder `search`.
        settings: Of the search.
        axes: What is searched, see `read_search`.

    Raises:
        UsageError: As `check`; the rows are too few; or the folder holds something else.
        MissingExtraError: Optuna is not installed.
        RunMismatchError: The folder holds another search.
        RunFailedError: No trial came to a model; or the machine is at fault.
        RunLockedError: Another process works on this search.
    """
    require_no_run(ctx.folder)
    require_optuna()
    check(trainer, data, ctx)
    folder = ctx.folder / FOLDER
    if Claim.read(ctx.folder) is not None and not folder.exists():
        raise UsageError(f"{ctx.folder}: holds a training; give the search another --out")
    with Store(folder).locked(ctx.progress.note):
        parts = parts_of(data, settings.folds, settings.seed, folder / "folds")
        records = Records(folder)
        records.claim(_claim(trainer, data, settings, axes, len(parts)))
        wanted = trials_of(settings, tuple(axes))
        if Claim.read(ctx.folder) is not None and wanted > len(records.ended):
            raise UsageError(
                f"{ctx.folder}: the model of its search of {len(records.ended)} trials is there or "
                f"begun. To go on with its trials, copy {folder} into another --out"
            )
        run = _Search(trainer, data, ctx.progress, settings, axes, parts, records)
        await run.until(wanted)
        report = run.report(wanted)
        write_text_atomically(ctx.folder / REPORT, report.model_dump_json(indent=1))
        write_text_atomically(ctx.folder / PICTURE, search_svg(report))
    return report


def _claim(
    trainer: SearchableTrainer,
    data: TrainingData,
    settings: SearchSettings,
    axes: Sequence[Axis],
    folds: int,
) -> SearchClaim:
    return SearchClaim(
        training=Claim.of(trainer, data),
        method=settings.method,
        folds=folds,
        seed=settings.seed,
        space={axis.name: axis.described() for axis in axes},
    )


@dataclass(frozen=True, slots=True)
class _Search:
    """A search that is under way."""

    trainer: SearchableTrainer
    data: TrainingData
    progress: Progress
    settings: SearchSettings
    axes: Sequence[Axis]
    parts: Sequence[TrainingData]
    records: Records

    async def until(self, wanted: int) -> None:
        """Try until so many trials are over."""
        left = wanted - len(self.records.ended)
        if left > 0:
            self.progress.note(
                f"search: {wanted} trials of {len(self.parts)} trainings each, {left} to do; "
                f"{self.settings.method} over {', '.join(axis.name for axis in self.axes)}"
            )
        for number in range(1, wanted + 1):
            if number in self.records.ended:
                continue
            earlier = [trial for trial in self._ended() if trial.number < number]
            tried = self.records.begun.get(number)
            if tried is None:
                tried = proposed(self.settings, self.axes, earlier, self._given())
                self.records.begin(number, tried)
            trial = await self._outcome(number, tried, earlier, wanted)
            self.records.end(trial)
            self.progress.note(
                f"trial {number} of {wanted}: {_said(trial)}; {self._so_far(wanted)}"
            )

    def report(self, wanted: int) -> SearchReport:
        """What it came to.

        Raises:
            RunFailedError: No trial came to a model.
        """
        tried = self._ended()[:wanted]
        different = {digest(dict(trial.settings)): trial for trial in reversed(tried)}
        trials = sorted(different.values(), key=lambda trial: (_ORDER[trial.state], trial.loss))
        if trials[0].state == "failed":
            reasons = dict.fromkeys(one_line(trial.reason, 300) for trial in tried)
            raise RunFailedError(
                f"none of {len(tried)} trials came to a model; search elsewhere, with another "
                "--out:\n  " + "\n  ".join(reasons)
            )
        given = self._given()
        report = SearchReport(
            method=self.settings.method,
            rows=sum(1 for _ in training_records(self.data.train)),
            folds=len(self.parts),
            early_stop=self._early_stop,
            trials=tuple(trials),
            repeated=len(tried) - len(trials),
            beside_best={
                trial.number: difference(trial, trials[0])
                for trial in trials[1:]
                if trial.state != "failed"
            },
            given=given,
            given_trial=next((t.number for t in trials if t.settings == given), None),
            importance=importance(self.axes, trials),
        )
        return report.model_copy(update={"words": explained(report, self.axes)})

    async def _outcome(
        self, number: int, tried: dict[str, Value], earlier: Sequence[Trial], wanted: int
    ) -> Trial:
        if (same := next((t for t in earlier if t.settings == tried), None)) is not None:
            return same.model_copy(update={"number": number, "seconds": 0.0})
        attempt = Attempt(
            number=number,
            settings=tried,
            trainer=self.trainer,
            parts=self.parts,
            folder=self.records.trial_folder(digest(tried)[:_NAME]),
            early_stop=self._early_stop,
        )
        so_far = self._so_far(wanted)

        def progress(fold: int) -> Progress:
            label = f"trial {number} of {wanted}"
            if len(self.parts) > 1:
                label += f", fold {fold} of {len(self.parts)}"
            return _OfATrial(self.progress, label, so_far)

        return await attempt.outcome(earlier, progress)

    @property
    def _early_stop(self) -> bool:
        """As the training that follows: without validation rows it makes all its steps."""
        return self.data.valid is not None

    def _ended(self) -> list[Trial]:
        return [trial for _, trial in sorted(self.records.ended.items())]

    def _given(self) -> dict[str, Value]:
        in_effect = self.trainer.in_effect()
        return {axis.name: in_effect[axis.name] for axis in self.axes}

    def _so_far(self, wanted: int) -> str:
        """The best trial, and how long those to come take if they are like those before."""
        ended = self._ended()
        finished = [trial for trial in ended if trial.state == "finished"]
        best = min(finished, key=lambda trial: trial.loss, default=None)
        words = [] if best is None else [f"best so far {best.loss:.4f} (trial {best.number})"]
        timed = [trial.seconds for trial in ended if trial.seconds]
        if timed and len(ended) < wanted:
            minutes = fmean(timed) * (wanted - len(ended)) / 60
            words.append(f"about {minutes:,.1f} min left")
        return ", ".join(words)


_ORDER: Final[Mapping[str, int]] = {"finished": 0, "pruned": 1, "failed": 2}


def _said(trial: Trial) -> str:
    if trial.state == "failed":
        return f"failed ({shown(trial.settings)}): {one_line(trial.reason, 300)}"
    of = f" after {len(trial.losses)} folds, given up" if trial.state == "pruned" else ""
    return f"loss {trial.loss:.4f}{of} ({shown(trial.settings)})"


class _OfATrial:
    """Progress of one training, told as that of its trial.

    Args:
        inner: Where to report.
        label: Which trial.
        so_far: What stands beside it.
    """

    def __init__(self, inner: Progress, label: str, so_far: str) -> None:
        self._inner = inner
        self._label = label
        self._so_far = so_far

    def start(self, label: str, total: int) -> None:  # noqa: ARG002  # the trial's stands there
        """As `Progress.start`."""
        self._inner.start(self._label, total)

    def advance(self, rows: int = 1) -> None:
        """As `Progress.advance`."""
        self._inner.advance(rows)

    def finish(self) -> None:
        """As `Progress.finish`."""
        self._inner.finish()

    def spent(self, tell: Callable[[], str]) -> None:
        """As `Progress.spent`."""
        self._inner.spent(lambda: "; ".join(filter(None, [tell(), self._so_far])))

    def note(self, text: str) -> None:
        """Nothing: what is wrong with rows was told before the first trial."""
