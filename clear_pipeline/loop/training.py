"""The trainings of a loop: each on the rows that a run exports, and none twice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from clear_pipeline.finetune import (
    Price,
    Trained,
    Trainer,
    TrainingContext,
    TrainingData,
    fine_tune,
    read_trained,
)
from clear_pipeline.finetune.claim import Claim
from clear_pipeline.loop.measure import test_load
from clear_pipeline.loop.rows import LeftOut, requests_in
from clear_pipeline.loop.settings import LoopConfig
from clear_pipeline.own_loop import in_own_loop
from clear_pipeline.run import Run
from clear_pipeline.stages.base import Progress
from clear_pipeline.training_data import DATA, exported, settled_in


@dataclass(frozen=True, slots=True)
class Tuned:
    """A training that is over.

    Attributes:
        trained: What came out.
        rows: Lines of its training file.
        file: That file, in the folder of whichever training of the loop it was.
    """

    trained: Trained
    rows: int
    file: Path


def has_begun(trainer: Trainer, folder: Path, progress: Progress) -> bool:
    """Whether a training has left something in its folder, which goes on with its own rows alone.

    The run that they were exported from must not run again then: rows that had failed would be
    tried again, and the training file become another one.
    """
    if (claim := Claim.read(folder)) is None:
        return False
    if claim.trainer != trainer.name or read_trained(folder) is not None:
        return True
    return trainer.standing(TrainingContext(folder, progress)) != "fresh"


def train(
    plan: LoopConfig,
    run: Run,
    folder: Path,
    *,
    test: Path,
    progress: Progress,
    left_out: LeftOut | None,
    agree: Callable[[Price], None],
) -> Tuned:
    """Train on what a run exports, unless that was trained on before in this loop.

    What has begun goes on with the files that it was begun with.

    Args:
        plan: Who trains, and on which general rows beside.
        run: A finished run.
        folder: Of the training, in the folder of a round.
        test: The test rows; general rows that ask what they ask are not drawn.
        progress: Where it reports.
        left_out: Rows that are in neither file.
        agree: Told the price before anything is paid or uploaded; may raise.

    Raises:
        UsageError: These rows cannot be trained on, or too few are left.
        RunFailedError: The training stopped; the same call goes on.
        BatchPendingError: Others train; the same call asks again.
    """
    trainer, note = plan.trainer, progress.note
    settled = settled_in(folder) if has_begun(trainer, folder, progress) else None
    source, valid = (run, None) if settled is None else settled
    mixes = plan.balance.mix is not None
    with exported(
        source,
        folder,
        valid,
        left_out=left_out,
        balance=plan.balance,
        note=note,
        measured=requests_in(test, test_load(plan)) if mixes else (),
    ) as files:
        rows = _lines(files.data.train)
        name = files.data.train.name
        if (known := _known(trainer, files.data, folder)) is not None:
            done, other = known
            note(f"these {rows:,} rows were trained on before: that model is taken")
            return Tuned(done, rows, other / DATA / name)
        ctx = TrainingContext(folder, progress)
        work = fine_tune(trainer, files.data, ctx, before=agree, settled=files.settle)
        return Tuned(in_own_loop(work), rows, folder / DATA / name)


def _lines(path: Path) -> int:
    with path.open("rb") as file:
        return sum(1 for _ in file)


def _known(trainer: Trainer, data: TrainingData, folder: Path) -> tuple[Trained, Path] | None:
    """What came of the same training in another folder of the loop, and that folder."""
    claim = Claim.of(trainer, data)
    for other in sorted(folder.parent.parent.glob("round-*/*")):
        same = other != folder and other.is_dir() and Claim.read(other) == claim
        if same and (done := read_trained(other)) is not None:
            return done, other
    return None
