"""Bringing the stages of a run up to date, one after the other."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from clear_pipeline.config import EMBEDDER
from clear_pipeline.engine.base import ShardTask
from clear_pipeline.errors import (
    BudgetExceededError,
    PendingError,
    RunFailedError,
)
from clear_pipeline.foresight import Foresight
from clear_pipeline.manifest import Part, StageRecord
from clear_pipeline.resume import (
    StageInputs,
    damaged_parts,
    is_complete,
    part_fingerprint,
    reason_to_rerun,
    refused_rows,
    reusable,
    settings_of,
    transient_failures,
    whole_fingerprint,
    work_left,
)
from clear_pipeline.rounds import pending
from clear_pipeline.schema import JSON
from clear_pipeline.stages.base import (
    Context,
    DatasetStage,
    Stage,
)
from clear_pipeline.stages.failures import FailureTally
from clear_pipeline.work import Work


async def run_in_rounds(
    stages: Sequence[Stage], position: int, work: Work, foresight: Foresight
) -> None:
    """Bring one stage up to date, or submit what it asks and stop."""
    stage, batches = stages[position], work.batches
    try:
        await run_stage(stage, work.manifest.chain[:position], work, foresight)
    except PendingError:
        if batches is None:
            raise
        roles = dict.fromkeys(role for each in stages[position:] for role in each.roles())
        models = await work.pool.open([role for role in roles if role != EMBEDDER])
        later, budget = stages[position + 1 :], work.pool.budget
        waiting = await pending(stage, later, models, batches, budget)
        work.log.event("waiting", stage=stage.name, requests=batches.waiting)
        raise waiting from None
    except RunFailedError:
        if batches is not None:
            batches.finish(stage.name)
            batches.forgive()
        raise
    if batches is not None:
        batches.finish(stage.name)


async def run_stage(stage: Stage, earlier: Sequence[str], work: Work, foresight: Foresight) -> None:
    """Bring one stage up to date: nothing, some shards, or all of them."""
    manifest = work.manifest
    identities = work.pool.identities(stage.roles())
    inputs = StageInputs.of(manifest, earlier)
    whole = whole_fingerprint(stage, identities, inputs)
    old = manifest.stage(stage.name)
    if is_complete(old, whole, inputs, work.store):
        work.log.event("up_to_date", stage=stage.name)
        for text in [f"{stage.name}: up to date", *(old.notes if old else [])]:
            work.progress.note(text)
        return
    if old is not None:
        work.progress.note(f"{stage.name}: {reason_to_rerun(old, stage, identities, work.store)}")
        if damaged := damaged_parts(old, work.store):
            work.log.event("damaged", logging.WARNING, stage=stage.name, files=damaged)
    record = StageRecord(
        kind=stage.name,
        version=stage.version,
        settings=settings_of(stage),
        models=identities,
    )
    await foresight.begin(stage, earlier)
    began = time.monotonic()
    computed = _Computed(stage, inputs, record, old, work)
    async with foresight.beside(stage, earlier):
        await computed.annotate(foresight)
    record.fingerprint = whole
    manifest.put_stage(record)
    work.save()
    failed = sum(part.failed for part in record.parts.values())
    seconds = round(time.monotonic() - began, 3)
    work.log.event("stage", stage=stage.name, rows=inputs.rows, failed=failed, seconds=seconds)


@dataclass(frozen=True, slots=True)
class _Computed:
    """A stage that has something to compute.

    Attributes:
        stage: Which.
        inputs: What it sees.
        record: Of what it comes to.
        old: The record of an earlier run, whose parts may still hold.
        work: Of the run.
        expected: By shard, the fingerprint of what is computed of it.
    """

    stage: Stage
    inputs: StageInputs
    record: StageRecord
    old: StageRecord | None
    work: Work
    expected: dict[str, str] = field(default_factory=dict)

    async def annotate(self, foresight: Foresight) -> None:
        """Keep the parts that still hold, compute the others, enter each in the manifest."""
        stage, work = self.stage, self.work
        if not isinstance(stage, DatasetStage):
            await self._annotate(None, foresight)
            return
        ctx = Context(
            progress=_Noted(work, self.record.notes, None),
            records=self.inputs.records,
        )
        tasks = list(self.inputs.tasks(None))
        with work.engine.shards(stage.name, tasks, work.progress) as shards:
            await self._annotate(stage.survey(shards, ctx), foresight)

    async def _annotate(self, states: Sequence[JSON] | None, foresight: Foresight) -> None:
        stage, work, record = self.stage, self.work, self.record
        todo = self._todo(states)

        rows = sum(self.inputs.parts[key][0][1].rows for key in todo)
        progress = _Noted(work, record.notes, foresight if stage.roles() else None)
        ctx = Context(
            models=await work.pool.open(stage.roles()) if todo else {},
            progress=progress,
            rows_in_flight=work.pool.rows_in_flight(stage.roles()),
            tally=self._tally() if todo else FailureTally(),
            records=self.inputs.records,
        )
        work.progress.start(stage.name, rows)
        try:
            await work.engine.annotate(stage, self._due(states, todo), ctx, self)
        except BudgetExceededError as error:
            raise self._stopped(error, rows - progress.rows) from None
        finally:
            work.progress.finish()
        if states is None and self.old is not None and len(todo) < len(self.inputs.keys):
            record.notes += [note for note in self.old.notes if note not in record.notes]

    def _todo(self, states: Sequence[JSON] | None) -> set[str]:
        """The shards to compute; parts of the earlier run that still hold are taken over."""
        todo = set(self.inputs.keys)
        if self.old is not None:
            for task in self.inputs.tasks(states):
                part = reusable(self.old, task.key, self._fingerprint(task), self.work.store)
                if part is not None:
                    self.record.parts[task.key] = part
                    todo.remove(task.key)
        return todo

    def _tally(self) -> FailureTally:
        """Judges by all rows of the stage, those of parts that were taken over included."""
        refused = refused_rows(self.record, self.work.store) if self.stage.roles() else 0
        return FailureTally(self.inputs.rows, refused=refused)

    def _due(self, states: Sequence[JSON] | None, todo: set[str]) -> Iterator[ShardTask]:
        """The tasks of these shards, with what their parts will be known by."""
        for task in self.inputs.tasks(states):
            if task.key in todo:
                self.expected[task.key] = self._fingerprint(task)
                yield task

    def _fingerprint(self, task: ShardTask) -> str:
        return part_fingerprint(self.stage, self.record.models, self.inputs, task)

    def write(self, key: str, columns: pa.Table) -> Part:
        """See `engine.base.Parts`."""
        failed, fingerprint = transient_failures(columns), self.expected[key]
        return self.work.store.write(
            self.stage.name, key, columns, fingerprint=fingerprint, failed=failed
        )

    def enter(self, key: str, part: Part) -> None:
        """See `engine.base.Parts`."""
        stage, work = self.stage.name, self.work
        self.record.parts[key] = part
        work.enter(self.record, key)
        work.log.event("shard", stage=stage, key=key, rows=part.rows, failed=part.failed)

    def _stopped(self, error: BudgetExceededError, left: int) -> BudgetExceededError:
        """A cap's stop with `left` rows that the stage is not through with."""
        rows = self.inputs.rows
        told = work_left(self.stage.name, left, rows, self.work.manifest.chain)
        return error.with_work_left(told, rows_done=rows - left, rows_left=left)


class _Noted:
    """A progress that knows the spend, and keeps the notes so that report and status show them.

    Args:
        work: Of the run.
        notes: Where they are kept.
        foresight: Told of each row of a stage that asks; None for one that does not.
    """

    def __init__(self, work: Work, notes: list[str], foresight: Foresight | None) -> None:
        self._work = work
        self._foresight = foresight
        self._notes = notes
        self.rows = 0
        self.start = work.progress.start
        self.finish = work.progress.finish
        self.spent = work.progress.spent

    def advance(self, rows: int = 1) -> None:
        self.rows += rows
        if self._foresight is not None:
            self.spent(self._work.pool.spend)
            self._foresight.row_done()
        self._work.progress.advance(rows)

    def note(self, text: str) -> None:
        self._notes.append(text)
        self._work.progress.note(text)
