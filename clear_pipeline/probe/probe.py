"""A probe from its plan to its files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import pyarrow as pa

from clear_pipeline import __version__
from clear_pipeline.config import Config
from clear_pipeline.durable import write_text_atomically
from clear_pipeline.errors import BudgetExceededError, ClearPipelineError, UsageError
from clear_pipeline.llm.base import ChatModel
from clear_pipeline.llm.catalog import embedded_model
from clear_pipeline.llm.meter import Totals
from clear_pipeline.llm.open import known_capabilities
from clear_pipeline.llm.pricing import prices
from clear_pipeline.llm.settings import Prices
from clear_pipeline.load import Data
from clear_pipeline.manifest import ModelRecord
from clear_pipeline.model_pool import ModelPool
from clear_pipeline.own_loop import in_own_loop
from clear_pipeline.probe.figures import preset_report
from clear_pipeline.probe.forecast import Forecast, forecasts
from clear_pipeline.probe.picture import picture
from clear_pipeline.probe.plan import Plan, ProbeSettings, make_plan
from clear_pipeline.probe.report import REPORT, PresetReport, ProbeReport, read_report
from clear_pipeline.probe.scored import SCORED, ShownProgress, Spent, score_plan
from clear_pipeline.probe.verdict import recommend, words
from clear_pipeline.scoring.scored_by import SCORED_BY, ScoredBy
from clear_pipeline.stages.base import Context, Progress, SilentProgress
from clear_pipeline.stages.failures import FailureTally
from clear_pipeline.stages.score import Score
from clear_pipeline.store import Store, write_table

PICTURE: Final = "probe.svg"
_ROLE: Final = "scorer"


class Probe:
    """Plants corruptions in a sample, scores it, and says what the model can and cannot see.

    Args:
        config: Says how DATA is read and which model scores.
        scores: The presets to compare, as score stages.
        settings: How much is planted.
        models: A ready model as `scorer` instead of the configured one.
        progress: Where long steps report.

    Raises:
        UsageError: One preset comes twice, with different settings.

    Example:
        >>> probe = Probe(build_config(), [Score(preset="likelihood")])
        >>> report = probe.run(probe.plan("data/demo"), out="runs/probe-demo")
        >>> report.verdict
    """

    def __init__(
        self,
        config: Config,
        scores: Sequence[Score],
        settings: ProbeSettings | None = None,
        *,
        models: Mapping[str, ChatModel] | None = None,
        progress: Progress | None = None,
    ) -> None:
        self.config = config
        self.scores = _one_per_preset(scores)
        self.settings = settings or ProbeSettings()
        self._models = dict(models or {})
        self._progress = progress or SilentProgress()

    @property
    def prices(self) -> Prices | None:
        """What the model costs; None where it is not known."""
        return None if _ROLE in self._models else prices(self.config.model_for(_ROLE))

    def plan(self, data: Data) -> Plan:
        """Read DATA, draw the sample and plant the corruptions; no call is made.

        Raises:
            NothingReadableError: DATA holds no usable row.
        """
        return make_plan(data, self.config.load, self.settings, progress=self._progress)

    def forecasts(self, plan: Plan) -> tuple[Forecast, ...]:
        """Calls and tokens to expect of `run`; the model is asked nothing.

        Raises:
            UnreachableError: No server answers at the model's address.
        """
        if _ROLE in self._models:
            known = self._models[_ROLE].capabilities
        else:
            known = in_own_loop(known_capabilities(self.config.model_for(_ROLE)))
        return forecasts(plan, self.scores, known)

    def run(self, plan: Plan, *, out: str | Path) -> ProbeReport:
        """Score the plan with every preset; works inside a running event loop too.

        Answers are kept in `out`: after a kill the same call goes on where it was, and a second
        probe of the same rows asks nothing. Writes probe.json, probe.svg and probe.parquet.

        Raises:
            RunFailedError: The server is gone or too many rows failed; the same call resumes.
            UsageError: The endpoint cannot do what a preset needs.
            BudgetExceededError: A cap was reached; the same call with a higher one goes on.
        """
        store = Store(Path(out))
        with store.locked():
            minutes = _earlier_minutes(store.directory)
            model, scored = in_own_loop(self._score(plan, store.directory))
            presets = [
                preset_report(
                    *of_preset,
                    stage=stage,
                    settings=self.settings,
                    prices=self.prices,
                    earlier_minutes=minutes.get((model.identity, stage.preset)),
                )
                for stage, of_preset in zip(self.scores, scored, strict=True)
            ]
            report = _put_together(plan, self.settings, presets, model, self._known_limits())
            table = pa.concat_tables([table for table, _ in scored])
            origin = {SCORED_BY: self._scored_by(model)}
            write_table(store.directory / SCORED, table.replace_schema_metadata(origin))
            write_text_atomically(store.directory / PICTURE, picture(report))
            text = report.model_dump_json(indent=1)
            write_text_atomically(store.directory / REPORT, text + "\n")
        return report

    def _known_limits(self) -> tuple[str, ...]:
        """What was measured of an embedded model beforehand, on labelled data."""
        if _ROLE in self._models:
            return ()
        known = embedded_model(self.config.model_for(_ROLE))
        if known is None or known.path is not None:
            return ()
        return (f"{known.name}, on labelled data: {known.limits}",)

    def _scored_by(self, model: ModelRecord) -> str:
        """By preset, for `clear-pipeline calibrate`: a ranking holds for this model alone."""
        return json.dumps(
            {
                stage.preset: ScoredBy(
                    model=model.identity,
                    preset=stage.preset,
                    settings=stage.model_dump(mode="json"),
                ).model_dump()
                for stage in self.scores
            }
        )

    async def _score(
        self, plan: Plan, directory: Path
    ) -> tuple[ModelRecord, list[tuple[pa.Table, Spent]]]:
        note = self._progress.note
        pool = ModelPool(self.config, self._models, directory=directory, spent={}, note=note)
        scored = []
        try:
            roles = tuple(dict.fromkeys(role for stage in self.scores for role in stage.roles()))
            models = await pool.open(roles)
            for stage in self.scores:
                ctx = Context(
                    models=models,
                    progress=ShownProgress(self._progress, pool.spend),
                    rows_in_flight=pool.rows_in_flight(roles),
                    tally=FailureTally(plan.rows),
                )
                scored.append(
                    await score_plan(
                        plan, stage, ctx, lambda: sum(pool.totals().values(), Totals())
                    )
                )
        except BudgetExceededError as error:
            shown = "what was answered is kept and is not asked again"
            raise error.with_work_left(f"The probe is not finished; {shown}") from None
        finally:
            await pool.close()
        return pool.records(self.scores)[_ROLE], scored


def _one_per_preset(scores: Sequence[Score]) -> tuple[Score, ...]:
    """Figures and files know a score by its preset."""
    by_preset: dict[str, Score] = {}
    for stage in scores:
        if by_preset.setdefault(stage.preset, stage) != stage:
            raise UsageError(
                f"preset {stage.preset} comes twice, with different settings: a probe tells "
                "presets apart by name; probe each in a directory of its own"
            )
    return tuple(by_preset.values())


def _earlier_minutes(directory: Path) -> dict[tuple[str, str], float | None]:
    """Minutes per 1,000 rows by model and preset, as an earlier probe here measured them."""
    try:
        earlier = read_report(directory)
    except ClearPipelineError:  # none, or of another version
        return {}
    return {(earlier.identity, p.preset): p.cost.minutes for p in earlier.presets}


def _put_together(
    plan: Plan,
    settings: ProbeSettings,
    presets: list[PresetReport],
    model: ModelRecord,
    known: tuple[str, ...],
) -> ProbeReport:
    best = recommend(presets)
    return ProbeReport(
        package_version=__version__,
        dataset=plan.dataset,
        rows_read=plan.rows_read,
        usable=plan.usable,
        model=model.model,
        endpoint=model.endpoint,
        identity=model.identity,
        settings=settings.model_dump(mode="json"),
        noise_rate=settings.noise_rate,
        presets=tuple(presets),
        recommended=None if best is None else best.preset,
        verdict=(*words(model.model, presets), *known),
    )
