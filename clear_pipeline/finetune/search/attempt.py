"""One trial: a training for each fold, until the last one or until there is no hope."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median
from typing import Final

from pydantic import ValidationError

from clear_pipeline.durable import write_text_atomically
from clear_pipeline.errors import UntrainableError, UsageError
from clear_pipeline.finetune.base import (
    Measured,
    SearchableTrainer,
    TrainingContext,
    TrainingData,
)
from clear_pipeline.finetune.search.report import State, Trial
from clear_pipeline.finetune.search.space import Value, with_values
from clear_pipeline.stages.base import Progress

_MEASURED: Final = "measured.json"
LEAST_FOLDS: Final = 2
"""Folds that a trial is measured on before it may be given up."""
LEAST_TRIALS: Final = 5
"""Trials before it that got so far."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """What is tried, and where.

    Attributes:
        number: Of the trial.
        settings: What the search varies.
        trainer: With its other settings.
        parts: The files of each training.
        folder: Of this trial.
        early_stop: Whether trainings stop early, and the lowest loss counts.
    """

    number: int
    settings: Mapping[str, Value]
    trainer: SearchableTrainer
    parts: Sequence[TrainingData]
    folder: Path
    early_stop: bool

    async def outcome(self, earlier: Sequence[Trial], progress: Callable[[int], Progress]) -> Trial:
        """Train and measure; what was measured before a kill is not trained again.

        Args:
            earlier: Trials to hold it against.
            progress: Where to report on the training of a fold, from 1.

        Raises:
            RunFailedError: The machine is at fault, not the settings.
        """
        began = time.monotonic()
        measured: list[Measured] = []
        state: State = "finished"
        reason = ""
        try:
            trainer = with_values(self.trainer, self.settings)
            assert isinstance(trainer, SearchableTrainer)  # noqa: S101  # as it was
            for fold in range(len(self.parts)):
                measured.append(await self._measured(trainer, fold, progress(fold + 1)))
                if len(measured) < len(self.parts) and hopeless(self._losses(measured), earlier):
                    state = "pruned"
                    break
        except ValidationError as error:
            state, reason = "failed", "; ".join(each["msg"] for each in error.errors())
        except (UsageError, UntrainableError) as error:
            state, reason = "failed", str(error)
        return Trial(
            number=self.number,
            settings=dict(self.settings),
            state=state,
            losses=self._losses(measured),
            reason=reason,
            best_at=fmean(m.best[0] / m.last[0] for m in measured) if measured else None,
            rise=fmean(m.last[1] - m.best[1] for m in measured) if measured else None,
            seconds=round(time.monotonic() - began, 1),
        )

    def _losses(self, measured: Sequence[Measured]) -> tuple[float, ...]:
        return tuple((m.best if self.early_stop else m.last)[1] for m in measured)

    async def _measured(
        self, trainer: SearchableTrainer, fold: int, progress: Progress
    ) -> Measured:
        ctx = TrainingContext(self.folder / f"fold-{fold + 1}", progress)
        path = ctx.folder / _MEASURED
        try:
            return Measured.model_validate_json(path.read_bytes())
        except (FileNotFoundError, ValidationError):
            pass
        ctx.folder.mkdir(parents=True, exist_ok=True)
        errors = [f for f in trainer.preflight(self.parts[fold], ctx) if f.severity == "error"]
        if errors:
            raise UsageError(str(errors[0]))
        found = await trainer.measure(self.parts[fold], ctx, early_stop=self.early_stop)
        write_text_atomically(path, found.model_dump_json())
        for left in ctx.folder.iterdir():
            if left.is_dir():
                shutil.rmtree(left)  # checkpoints, which are large
        return found


def hopeless(losses: Sequence[float], earlier: Sequence[Trial]) -> bool:
    """Whether a trial is worse, over the folds so far, than half of the trials before it there.

    As the median rule of Golovin et al. 2017 (Vizier), by the mean over folds so far and not by the
    best of them: a fold may be easy for all.
    """
    folds = len(losses)
    others = [
        fmean(trial.losses[:folds])
        for trial in earlier
        if trial.state != "failed" and len(trial.losses) >= folds
    ]
    enough = folds >= LEAST_FOLDS and len(others) >= LEAST_TRIALS
    return enough and fmean(losses) > median(others)
