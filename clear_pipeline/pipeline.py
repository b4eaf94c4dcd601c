"""The chain: load, the stages in order, ledger, export, report; resumable at every step."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias, TypeVar

from clear_pipeline import __version__
from clear_pipeline.config import EMBEDDER, Config
from clear_pipeline.durable import write_text_atomically
from clear_pipeline.engine.base import Engine
from clear_pipeline.engine.local import LocalEngine
from clear_pipeline.errors import (
    BudgetExceededError,
    PendingError,
    RunFailedError,
    UnwritableError,
)
from clear_pipeline.estimate import QUICK, THOROUGH, Effort, Estimate, estimate
from clear_pipeline.ingest import ingest
from clear_pipeline.llm.base import ChatModel
from clear_pipeline.llm.batch.batches import Batches
from clear_pipeline.load import Data
from clear_pipeline.manifest import Manifest, StageRecord
from clear_pipeline.model_pool import ModelPool, identity_of
from clear_pipeline.outputs import write_outputs
from clear_pipeline.own_loop import in_own_loop
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
from clear_pipeline.rounds import batches_of, pending, refuse_without_batches
from clear_pipeline.run import Run
from clear_pipeline.run_log import RunLog
from clear_pipeline.schema import JSON
from clear_pipeline.stages.base import (
    Context,
    DatasetStage,
    Progress,
    Shard,
    SilentProgress,
    Stage,
)
from clear_pipeline.stages.calibrate import Calibrate
from clear_pipeline.stages.failures import FailureTally
from clear_pipeline.store import CACHE, CONFIG, Store

T = TypeVar("T")

Tell: TypeAlias = Callable[[Estimate], None]
"""Is told what a run will ask for; may raise to stop it."""


@dataclass
class _Work:
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


class Pipeline:
    """One configured run of CLEAR.

    Args:
        config: What to compute, see `build_config`.
        models: Ready models by role instead of the configured ones (a `ScriptedChat`, or your
            own `ChatModel`); their answers are cached like any other.
        progress: Where long steps report; silent by default.
        before_calls: Told, before the first call of a run, what is left to ask; raises to stop it.

    Example:
        >>> config = build_config(stages=["dedup"])
        >>> run = Pipeline(config).run("data/demo", out="runs/demo")
        >>> run.frame(fate="duplicate")
    """

    def __init__(
        self,
        config: Config,
        *,
        models: Mapping[str, ChatModel] | None = None,
        progress: Progress | None = None,
        before_calls: Tell | None = None,
    ) -> None:
        self.config = config
        self._before_calls = before_calls
        self._models = dict(models or {})
        self._progress = progress or SilentProgress()

    def run(self, data: Data, *, out: str | Path) -> Run:
        """Run the chain, or resume it; works inside a running event loop (Jupyter) too.

        Args:
            data: A file, a directory, a pandas DataFrame or a Hugging Face Dataset.
            out: The run directory. If it holds a run of the same data, that run is resumed:
                what still holds is kept, what a changed setting touches is computed anew.

        Raises:
            UsageError: Wrong input or config, or `out` holds a run of other data.
            RunFailedError: The run stopped; the same call resumes it.
            BudgetExceededError: A cap was reached; the same call with a higher one goes on.
            BatchPendingError: Batches have yet to answer; the same call goes on when they have.
        """
        in_own_loop(self._run(data, Path(out)))
        return Run(out)

    def estimate(
        self, data: Data, *, out: str | Path | None = None, effort: Effort = THOROUGH
    ) -> Estimate:
        """What a run would ask for: calls, tokens, dollars. Makes no call that is paid.

        Rows are loaded and duplicates found as in a run, and nothing of it is kept.

        Args:
            data: As for `run`.
            out: A run directory whose answers are left out, and learnt from.
            effort: How many rows are rehearsed, and how long a model without a price is asked.

        Raises:
            UsageError: Wrong input or config.
            UnreachableError: A server does not answer.
        """
        with TemporaryDirectory(prefix="clear-pipeline-") as scratch:
            answers = (Path(scratch) if out is None else Path(out)) / CACHE
            return in_own_loop(self._estimate(data, Path(scratch), answers, effort))

    async def _estimate(self, data: Data, scratch: Path, answers: Path, effort: Effort) -> Estimate:
        _refuse_other_scorer(self.config, self._models)
        with RunLog(scratch) as log:
            store = Store(scratch)
            manifest = ingest(data, self.config.load, store, self._progress)
            work = self._work(manifest, store, log, None)
            try:
                work.pool.records(self.config.stages)  # refuses what a run would refuse
                for position, stage in enumerate(self.config.stages):
                    earlier, left = work.manifest.chain[:position], self.config.stages[position:]
                    if stage.roles():
                        return await _ahead(left, earlier, work, answers=answers, effort=effort)
                    await _run_stage(stage, earlier, work)
            finally:
                await work.pool.close()
        return Estimate(rows=0, sampled=0, stages=(), models=())

    async def _run(self, data: Data, out: Path) -> None:
        _refuse_other_scorer(self.config, self._models)
        await refuse_without_batches(self.config, self._models)
        store = Store(out)
        with store.locked(self._progress.note), RunLog(out) as log:
            log.event("started", version=__version__, stages=[s.name for s in self.config.stages])
            manifest = ingest(data, self.config.load, store, self._progress)
            log.event("loaded", **manifest.counts())
            write_text_atomically(out / CONFIG, self.config.to_yaml())
            batches = await batches_of(self.config, out, self._progress.note)
            work = self._work(manifest, store, log, batches)
            try:
                manifest.models = work.pool.records(self.config.stages)
                for position in range(len(self.config.stages)):
                    await _run_in_rounds(self.config.stages, position, work)
                work.save()
            except BaseException:
                with suppress(UnwritableError):  # the error that stopped the run is told
                    work.save()
                raise
            finally:
                await work.pool.close()
                if batches is not None:
                    await batches.close()
            if failures := work.pool.failures():
                self._progress.note(failures)
            write_outputs(self.config, manifest, store, self._progress)
            log.event("written", fates=manifest.fates, usage=manifest.usage)

    def _work(
        self, manifest: Manifest, store: Store, log: RunLog, batches: Batches | None
    ) -> _Work:
        """The models of the chain, and what its steps share."""
        pool = ModelPool(
            self.config,
            self._models,
            directory=store.directory,
            spent=manifest.usage,
            note=self._progress.note,
            batches=batches,
        )
        manifest.chain = [stage.name for stage in self.config.stages]
        manifest.budget = self.config.budget.model_dump(exclude_none=True)
        engine, tell = LocalEngine(store), self._before_calls
        return _Work(self.config, store, manifest, pool, engine, self._progress, log, batches, tell)


def _refuse_other_scorer(config: Config, given: Mapping[str, ChatModel]) -> None:
    """A calibration holds for one model: say so before another is asked, and nothing is written.

    Raises:
        UsageError: The file was fitted for another model than the scorer.
    """
    for stage in config.stages:
        if isinstance(stage, Calibrate):
            stage.refuse_other_scorer(identity_of("scorer", config, given))


async def _run_in_rounds(stages: Sequence[Stage], position: int, work: _Work) -> None:
    """Bring one stage up to date, or submit what it asks and stop."""
    stage, batches = stages[position], work.batches
    try:
        await _run_stage(stage, work.manifest.chain[:position], work)
    except PendingError:
        if batches is None:
            raise
        roles = dict.fromkeys(role for each in stages[position:] for role in each.roles())
        models = await work.pool.open([role for role in roles if role != EMBEDDER])
        later, budget = stages[position + 1 :], work.pool.budget
        raise await pending(stage, later, models, batches, budget) from None
    except RunFailedError:
        if batches is not None:
            batches.finish(stage.name)
        raise
    if batches is not None:
        batches.finish(stage.name)


async def _run_stage(stage: Stage, earlier: list[str], work: _Work) -> None:
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


async def _tell(tell: Tell, stage: Stage, earlier: list[str], work: _Work) -> None:
    """Say once what this stage and the later ones will ask."""
    work.tell = None
    left = work.config.stages[work.config.stages.index(stage) :]
    answers = work.store.directory / CACHE
    tell(await _ahead(left, earlier, work, answers=answers, effort=QUICK))


async def _ahead(
    stages: Sequence[Stage], earlier: list[str], work: _Work, *, answers: Path, effort: Effort
) -> Estimate:
    """What these stages will ask about the rows as the earlier ones left them."""
    inputs = StageInputs.of(work.manifest, earlier)
    joined = work.store.joined

    def read() -> Iterator[Shard]:
        return (joined(key, inputs.parts[key]) for key in inputs.keys)

    how = work.config.mode
    return await estimate(stages, read, work.pool, cache_path=answers, effort=effort, mode=how)


def _combined_states(
    stage: Stage, inputs: StageInputs, record: StageRecord, work: _Work
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
    work: _Work,
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
        raise error.with_work_left(
            work_left(stage.name, rows - progress.rows, inputs.rows, chain)
        ) from None
    finally:
        work.progress.finish()
    if states is None and old is not None and len(todo) < len(expected):
        record.notes += [note for note in old.notes if note not in record.notes]


class _Noted:
    """A progress that knows the spend, and keeps the notes so that report and status show them."""

    def __init__(self, work: _Work, notes: list[str], *, calls: bool) -> None:
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
