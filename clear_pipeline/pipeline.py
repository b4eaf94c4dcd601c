"""The chain: load, the stages in order, ledger, export, report; resumable at every step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from clear_pipeline import __version__
from clear_pipeline.claim import claim, refuse_strangers
from clear_pipeline.config import Config
from clear_pipeline.durable import write_text_atomically
from clear_pipeline.engine.base import Engine
from clear_pipeline.engine.local import LocalEngine
from clear_pipeline.engine.open import opened
from clear_pipeline.errors import BudgetExceededError, UnwritableError
from clear_pipeline.estimate import NOTHING, THOROUGH, Effort, Estimate
from clear_pipeline.foresight import Foresight, Tell, ahead
from clear_pipeline.ingest import ingest
from clear_pipeline.llm.base import ChatModel
from clear_pipeline.llm.batch.batches import Batches
from clear_pipeline.llm.settings import BudgetSettings
from clear_pipeline.load import Data, discover
from clear_pipeline.manifest import MANIFEST, Manifest
from clear_pipeline.model_pool import ModelPool, Shared, identity_of
from clear_pipeline.outputs import write_outputs
from clear_pipeline.own_loop import in_own_loop
from clear_pipeline.remote import local_directory
from clear_pipeline.resume import is_done
from clear_pipeline.rounds import batches_of, refuse_without_batches
from clear_pipeline.run import Run
from clear_pipeline.run_log import RunLog
from clear_pipeline.stage_runs import run_in_rounds, run_stage
from clear_pipeline.stages.base import (
    Progress,
    ReadingStage,
    SilentProgress,
)
from clear_pipeline.stages.calibrate import Calibrate
from clear_pipeline.stages.rectify import Rectify
from clear_pipeline.store import CACHE, CONFIG, Store
from clear_pipeline.work import Work


class Pipeline:
    """One configured run of CLEAR.

    Args:
        config: What to compute, see `build_config`.
        models: Ready models by role instead of the configured ones (a `ScriptedChat`, or your
            own `ChatModel`); their answers are cached like any other.
        progress: Where long steps report; silent by default.
        when_checked: Called once all is checked that can be without a model, before the stages.
        before_calls: Told, before the first call of a run, what is left to ask; raises to stop it.
            With it, `progress` is told once more what the run takes, after its first 50 calls.
        shared: What the run has in common with other work: answers, and caps over all of it.

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
        when_checked: Callable[[], None] | None = None,
        before_calls: Tell | None = None,
        shared: Shared | None = None,
    ) -> None:
        self.config = config
        self._shared = shared
        self._when_checked = when_checked or (lambda: None)
        self._before_calls = before_calls
        self._models = dict(models or {})
        self._progress = progress or SilentProgress()

    def run(self, data: Data, *, out: str | Path) -> Run:
        """Run the chain, or resume it; works inside a running event loop (Jupyter) too.

        Args:
            data: A file, a directory, an address such as `s3://bucket/dir`, a pandas DataFrame or
                a Hugging Face Dataset.
            out: The run directory, on this machine. If it holds a run of the same data, that run
                is resumed: what still holds is kept, what a changed setting touches is computed
                anew.

        Raises:
            UsageError: Wrong input or config, or `out` holds a run of other data.
            RunFailedError: The run stopped; the same call resumes it.
            BudgetExceededError: A cap was reached; the same call with a higher one goes on.
            BatchPendingError: Batches have yet to answer; the same call goes on when they have.
        """
        directory = local_directory(out)
        in_own_loop(self._run(data, directory))
        return Run(directory)

    def estimate(
        self, data: Data, *, out: str | Path | None = None, effort: Effort = THOROUGH
    ) -> Estimate:
        """What a run would ask for: calls, tokens, dollars. Makes no call that is paid.

        Rows are loaded and duplicates found as in a run, and nothing of it is kept.

        Args:
            data: As for `run`.
            out: A run directory: what is left of its run, whose answers are learnt from.
            effort: How many rows are rehearsed, and how long a model without a price is asked.

        Raises:
            UsageError: Wrong input or config.
            UnreachableError: A server does not answer.
        """
        begun = None if out is None else local_directory(out)
        uncapped = Pipeline(
            _uncapped(self.config),  # no call is paid, and no cap keeps one back
            models=self._models,
            progress=self._progress,
            when_checked=self._when_checked,
            shared=self._shared,
        )
        with TemporaryDirectory(prefix="clear-pipeline-") as scratch:
            found = in_own_loop(uncapped._estimate(data, Path(scratch), begun, effort))
        if begun is None or not (begun / MANIFEST).is_file():
            return found
        return replace(found, spent=Run(begun).spent())

    async def _estimate(
        self, data: Data, scratch: Path, begun: Path | None, effort: Effort
    ) -> Estimate:
        _refuse_other_models(self.config, self._models)
        _require_files(self.config)
        answers = (begun or scratch) / CACHE if self._shared is None else self._shared.answers
        with RunLog(scratch) as log:
            store = Store(scratch)
            claimed = claim(data, discover(data), store, self._progress)
            manifest = ingest(claimed, self.config.load, store, self._progress, log)
            work = self._work(manifest, store, log, None, LocalEngine(store))
            try:
                work.pool.records(self.config.stages)  # refuses what a run would refuse
                self._when_checked()
                if begun is not None and is_done(
                    self.config.stages, work.pool.identities, manifest, begun
                ):
                    return NOTHING
                for position, stage in enumerate(self.config.stages):
                    earlier, left = work.manifest.chain[:position], self.config.stages[position:]
                    if stage.roles():
                        return await ahead(left, earlier, work, answers=answers, effort=effort)
                    await run_stage(stage, earlier, work, Foresight(work, None))
            finally:
                await work.pool.close()
        return NOTHING

    async def _run(self, data: Data, out: Path) -> None:
        _refuse_other_models(self.config, self._models)
        _require_files(self.config)
        await refuse_without_batches(self.config, self._models)
        listing, store = discover(data), Store(out)
        refuse_strangers(out)
        with ExitStack() as held:
            held.enter_context(store.locked(self._progress.note))
            engine = held.enter_context(opened(self.config.engine, store))
            claimed = claim(data, listing, store, self._progress)
            log = held.enter_context(RunLog(out))
            log.event("started", version=__version__, stages=[s.name for s in self.config.stages])
            manifest = ingest(claimed, self.config.load, store, self._progress, log)
            log.event("loaded", **manifest.counts())
            write_text_atomically(out / CONFIG, self.config.to_yaml())
            answers = None if self._shared is None else self._shared.answers
            batches = await batches_of(self.config, out, self._progress.note, answers=answers)
            work = self._work(manifest, store, log, batches, engine)
            foresight = Foresight(work, self._before_calls)
            try:
                manifest.models = work.pool.records(self.config.stages)
                self._when_checked()
                for position in range(len(self.config.stages)):
                    await run_in_rounds(self.config.stages, position, work, foresight)
                if batches is not None:
                    batches.forgive()
                work.save()
            except BaseException as error:
                if isinstance(error, BudgetExceededError):
                    foresight.inform(error)
                    self._tell_failures(work.pool)  # the cap may hide that nothing was answered
                    manifest.higher_cap = {error.cap: error.enough}
                with suppress(UnwritableError):  # the error that stopped the run is told
                    work.save()
                raise
            finally:
                await work.pool.close()
                if batches is not None:
                    await batches.close()
            self._tell_failures(work.pool)
            write_outputs(self.config, manifest, store, self._progress)
            log.event("written", fates=manifest.fates, usage=manifest.usage)

    def _tell_failures(self, pool: ModelPool) -> None:
        if failures := pool.failures():
            self._progress.note(failures)

    def _work(
        self,
        manifest: Manifest,
        store: Store,
        log: RunLog,
        batches: Batches | None,
        engine: Engine,
    ) -> Work:
        """The models of the chain, and what its steps share."""
        pool = ModelPool(
            self.config,
            self._models,
            directory=store.directory,
            spent=manifest.usage,
            note=self._progress.note,
            batches=batches,
            shared=self._shared,
        )
        manifest.chain = [stage.name for stage in self.config.stages]
        manifest.budget = self.config.budget.model_dump(exclude_none=True)
        manifest.higher_cap = {}
        return Work(self.config, store, manifest, pool, engine, self._progress, log, batches)


def _uncapped(config: Config) -> Config:
    return config.model_copy(update={"budget": BudgetSettings()})


def _refuse_other_models(config: Config, given: Mapping[str, ChatModel]) -> None:
    """A calibration holds for one model: say so before another is asked, and nothing is written.

    Raises:
        UsageError: A file was fitted for another model than the scorer or the judge.
    """
    for stage in config.stages:
        if isinstance(stage, Calibrate):
            stage.refuse_other_scorer(identity_of("scorer", config, given))
        if isinstance(stage, Rectify) and stage.calibration is not None:
            stage.refuse_other_judge(identity_of("judge", config, given))


def _require_files(config: Config) -> None:
    """Look at the files of stages before DATA is read, and before anything is written.

    Raises:
        UsageError: One cannot be read, or is not what it is said to be.
    """
    for stage in config.stages:
        if isinstance(stage, ReadingStage):
            stage.require_files()
