"""The trainings of a loop: each on the rows that a run exports, and none twice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from clear_pipeline.evaluate.models.held_out import read_rows, request_hash
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
from clear_pipeline.loop.rows import LeftOut
from clear_pipeline.loop.settings import LoopConfig
from clear_pipeline.own_loop import in_own_loop
from clear_pipeline.run import Run
from clear_pipeline.schema import Example
from clear_pipeline.stages.base import Progress
from clear_pipeline.training_data import exported


@dataclass(frozen=True, slots=True)
class Tuned:
    """A training that is over.

    Attributes:
        trained: What came out.
        rows: Lines of its training file.
    """

    trained: Trained
    rows: int


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
    with exported(
        run,
        folder,
        None,
        left_out=left_out,
        balance=plan.balance,
        note=note,
        measured=_asked_in(test, plan),
    ) as files:
        rows = _lines(files.data.train)
        if (known := _known(trainer, files.data, folder)) is not None:
            note(f"these {rows:,} rows were trained on before: that model is taken")
            return Tuned(known, rows)
        ctx = TrainingContext(folder, progress)
        work = fine_tune(trainer, files.data, ctx, before=agree, settled=files.settle)
        return Tuned(in_own_loop(work), rows)


def _asked_in(test: Path, plan: LoopConfig) -> frozenset[str]:
    """What the test rows ask; nothing where no general row is drawn."""
    if plan.balance.mix is None:
        return frozenset()
    rows = read_rows(test, test_load(plan))
    return frozenset(request_hash(row) for row in rows if isinstance(row, Example))


def _lines(path: Path) -> int:
    with path.open("rb") as file:
        return sum(1 for _ in file)


def _known(trainer: Trainer, data: TrainingData, folder: Path) -> Trained | None:
    """What came of the same training in another folder of the loop."""
    claim = Claim.of(trainer, data)
    for other in sorted(folder.parent.parent.glob("round-*/*")):
        if other != folder and other.is_dir() and Claim.read(other) == claim:
            return read_trained(other)
    return None
