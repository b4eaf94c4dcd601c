"""Bringing the stages of a run up to date, one after the other."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from clear_pipeline.config import EMBEDDER, Config
from clear_pipeline.engine.base import Engine
from clear_pipeline.errors import (
    BudgetExceededError,
    PendingError,
    RunFailedError,
)
from clear_pipeline.estimate import QUICK, Effort, Estimate, estimate
from clear_pipeline.llm.batch.batches import Batches
from clear_pipeline.manifest import Manifest, StageRecord
from clear_pipeline.model_pool import ModelPool
from clear_pipeline.resume import (
    StageInputs,
    is_complete,
    part_fingerprint,
    reason_to_rerun,
    reusable,
    settings_of,
    transient_failures,
    whole_fingerprint,
    work_left,
)
from clear_pipeline.rounds import pending
from clear_pipeline.run_log import RunLog
from clear_pipeline.schema import JSON
from clear_pipeline.stages.base import (
    Context,
    DatasetStage,
    Progress,
    Shard,
    Stage,
)
from clear_pipeline.stages.failures import FailureTally
from clear_pipeline.store import CACHE, Store

Tell: TypeAlias = Callable[[Estimate], None]
"""Is told what a run will ask for; may raise to stop it."""


@dataclass
class Work:
    """What the steps of one run share."""

    config: Config
    store: Store
    manifest: Manifest
    pool: ModelPool
    engine: Engine
    progress: Progress
    log: RunLog
    batches: Batches | None
    tell: Tell | None = None
    """Told before the first call what is to come."""

    def save(self) -> None:
        """Write the manifest, with what was spent so far."""
        self.manifest.usage = self.pool.usage()
        self.manifest.save(self.store.directory)


async def run_in_rounds(stages: Sequence[Stage], position: int, work: Work) -> None:
    """Bring one stage up to date, or submit what it asks and stop."""
    stage, batches = stages[position], work.batches
    try:
        await run_stage(stage, work.manifest.chain[:position], work)
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
        raise
    if batches is not None:
        batches.finish(stage.name)


async def run_stage(stage: Stage, earlier: list[str], work: Work) -> None:
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
    record = StageRecord(
        kind=stage.name,
        version=stage.version,
        settings=settings_of(stage),
        models=identities,
    )
    if stage.roles() and work.tell is not None:
        await _tell(work.tell, stage, earlier, work)
    began = time.monotonic()
    states = _combined_states(stage, inputs, record, work)
    await _annotate(stage, inputs, states, record, old, work)
    record.fingerprint = whole
    manifest.put_stage(record)
    work.save()
    failed = sum(part.failed for part in record.parts.values())
    seconds = round(time.monotonic() - began, 3)
    work.log.event("stage", stage=stage.name, rows=inputs.rows, failed=failed, seconds=seconds)


async def _tell(tell: Tell, stage: Stage, earlier: list[str], work: Work) -> None:
    """Say once what this stage and the later ones will ask."""
    work.tell = None
    left = work.config.stages[work.config.stages.index(stage) :]
    answers = work.store.directory / CACHE
    tell(await ahead(left, earlier, work, answers=answers, effort=QUICK))


async def ahead(
    stages: Sequence[Stage], earlier: list[str], work: Work, *, answers: Path, effort: Effort
) -> Estimate:
    """What these stages will ask about the rows as the earlier ones left them.

    Args:
        stages: Those left to run, in order.
        earlier: Those that have run.
        work: Of the run.
        answers: The cache of a run whose answers are left out, and learnt from.
        effort: How much it may take.
    """
    inputs = StageInputs.of(work.manifest, earlier)
    joined = work.store.joined

    def read() -> Iterator[Shard]:
        return (joined(key, inputs.parts[key]) for key in inputs.keys)

    how = work.config.mode
    return await estimate(stages, read, work.pool, cache_path=answers, effort=effort, mode=how)


def _combined_states(
    stage: Stage, inputs: StageInputs, record: StageRecord, work: Work
) -> list[JSON] | None:
    if not isinstance(stage, DatasetStage):
        return None
    ctx = Context(
        progress=_Noted(work, record.notes, calls=False),
        records=inputs.records,
    )
    work.progress.start(f"{stage.name}, first pass", inputs.rows)
    try:
        partials = work.engine.summarize(stage, inputs.tasks(None), ctx)
        return stage.combine(partials, ctx)
    finally:
        work.progress.finish()


async def _annotate(
    stage: Stage,
    inputs: StageInputs,
    states: list[JSON] | None,
    record: StageRecord,
    old: StageRecord | None,
    work: Work,
) -> None:
    """Keep the parts that still hold, compute the others, enter each in the manifest."""
    todo, expected = [], {}
    for task in inputs.tasks(states):
        expected[task.key] = part_fingerprint(stage, record.models, inputs, task)
        part = reusable(old, task.key, expected[task.key], work.store)
        if part is None:
            todo.append(task)
        else:
            record.parts[task.key] = part

    def done(key: str, columns: Any) -> None:  # noqa: ANN401  # pyarrow has no types
        record.parts[key] = work.store.write(
            stage.name,
            key,
            columns,
            fingerprint=expected[key],
            failed=transient_failures(columns),
        )
        work.manifest.put_stage(record)
        work.save()
        part = record.parts[key]
        work.log.event("shard", stage=stage.name, key=key, rows=part.rows, failed=part.failed)

    models = await work.pool.open(stage.roles()) if todo else {}
    progress = _Noted(work, record.notes, calls=bool(stage.roles()))
    rows = sum(task.parts[0][1].rows for task in todo)
    ctx = Context(
        models=models,
        progress=progress,
        rows_in_flight=work.pool.rows_in_flight(stage.roles()),
        tally=FailureTally(rows),
        records=inputs.records,
    )
    work.progress.start(stage.name, rows)
    try:
        await work.engine.annotate(stage, todo, ctx, done)
    except BudgetExceededError as error:
        chain = work.manifest.chain
        left = rows - progress.rows
        raise error.with_work_left(
            work_left(stage.name, left, inputs.rows, chain),
            rows_done=inputs.rows - left,
            rows_left=left,
        ) from None
    finally:
        work.progress.finish()
    if states is None and old is not None and len(todo) < len(expected):
        record.notes += [note for note in old.notes if note not in record.notes]


class _Noted:
    """A progress that knows the spend, and keeps the notes so that report and status show them."""

    def __init__(self, work: Work, notes: list[str], *, calls: bool) -> None:
        self._work = work
        self._calls = calls
        self._notes = notes
        self.rows = 0
        self.start = work.progress.start
        self.finish = work.progress.finish
        self.spent = work.progress.spent

    def advance(self, rows: int = 1) -> None:
        self.rows += rows
        if self._calls:
            self.spent(self._work.pool.spend())
        self._work.progress.advance(rows)

    def note(self, text: str) -> None:
        self._notes.append(text)
        self._work.progress.note(text)
