"""One config for one run: models by role, load, the chain of stages, export."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import BaseModel, Field, ValidationError, model_validator

from clear_pipeline.config_chain import (
    USUAL_CHAIN,
    calibrated,
    chain_of,
    decontaminated,
    merged,
    models_of,
)
from clear_pipeline.config_errors import explained
from clear_pipeline.config_keys import leave_behind, require_key_files
from clear_pipeline.config_values import STAGE_KINDS, assign
from clear_pipeline.errors import ConfigError
from clear_pipeline.export import ExportSettings
from clear_pipeline.llm.batch.settings import BatchSettings, Mode
from clear_pipeline.llm.budget import UNPRICED
from clear_pipeline.llm.pricing import prices
from clear_pipeline.llm.settings import BudgetSettings, ModelSettings
from clear_pipeline.load import LoadSettings
from clear_pipeline.stages.base import Settings
from clear_pipeline.stages.calibrate import Calibrate
from clear_pipeline.stages.cascade import Cascade
from clear_pipeline.stages.confidence import REFINED
from clear_pipeline.stages.decontaminate import Decontaminate
from clear_pipeline.stages.dedup import Dedup
from clear_pipeline.stages.embed import Embed
from clear_pipeline.stages.filter import PRECISION_NEEDS, Filter
from clear_pipeline.stages.rectify import Rectify
from clear_pipeline.stages.score import Score
from clear_pipeline.stages.second_opinion import SecondOpinion
from clear_pipeline.store import CONFIG
from clear_pipeline.yaml_source import COMMAND_LINE, YamlSource, read_yaml

Role = Literal["scorer", "candidate", "judge", "embedder", "second"]
ROLES: tuple[Role, ...] = get_args(Role)
EMBEDDER: Role = "embedder"
"""The role that is asked for embeddings."""
UNSHARED: Mapping[str, str] = {
    "embedder": "embeddings of an endpoint need a model that embeds: "
    "models.embedder: {model: NAME, base_url: URL}",
    "second": "the second opinion needs another model: --set models.second.model=NAME "
    "(and models.second.base_url=URL)",
}
"""Roles in which the scorer cannot stand in, with what to do where no model is given."""
StageSettings = Annotated[
    Decontaminate | Embed | Dedup | Score | Cascade | Calibrate | SecondOpinion | Filter | Rectify,
    Field(discriminator="kind"),
]
WHERE_FROM = {
    "p_good_low": PRECISION_NEEDS,
    "embedding": "put `- {kind: embed}` before it, or --stages embed,dedup,...",
}
"""For columns that the usual chain does not make: what to do."""


class EngineSettings(Settings):
    """Where shards are computed."""

    kind: Literal["local", "ray"] = "local"
    """`local`: in this process. `ray`: on a Ray cluster, with the extra `ray`."""
    address: str | None = None
    """Of the cluster: HOST:PORT, `auto` or `local`; None = the one that RAY_ADDRESS names, else one
    that runs on this machine, else a new one here."""


class Config(Settings):
    """Everything that decides what a run computes. Frozen; unknown keys are errors."""

    models: dict[Role, ModelSettings] = Field(default_factory=dict)
    """By role. `candidate` and `judge` are the scorer where they are not given; `embedder` is
    needed with `similarity: embeddings` and `embed.via: endpoint` alone, `second` with the stage
    `second_opinion`."""
    mode: Mode = "live"
    """How questions are asked: each at once, or through batches. Outside every fingerprint."""
    batch: BatchSettings = BatchSettings()
    """How large batches may be."""
    load: LoadSettings = LoadSettings()
    """How DATA is read."""
    stages: tuple[StageSettings, ...] = ()
    """The chain, in order."""
    export: ExportSettings = ExportSettings()
    """What is written at the end."""
    budget: BudgetSettings = BudgetSettings()
    """What may be spent at most."""
    engine: EngineSettings = EngineSettings()
    """Where shards are computed. Outside every fingerprint."""

    @model_validator(mode="after")
    def _chain_is_possible(self) -> Config:
        there: set[str] = set()
        for stage in self.stages:
            if stage.name in there:
                raise ValueError(f"stage {stage.name!r} stands twice in the chain")
            missing = [column for column in stage.needs() if column not in there]
            if missing:
                usual = f"the usual chain is {', '.join(USUAL_CHAIN)}"
                raise ValueError(
                    f"stage {stage.name!r} needs column {missing[0]!r} of an earlier stage; "
                    f"{WHERE_FROM.get(missing[0], usual)}"
                )
            if late := _too_late(stage.adds().names, there):
                raise ValueError(f"stage {stage.name!r} must stand before {late}")
            there |= {stage.name, *stage.adds().names}
        return self

    @model_validator(mode="after")
    def _cascade_aims_at_the_filter(self) -> Config:
        """What was paid for is where the threshold is, unless somebody says otherwise."""
        stages = {stage.kind: stage for stage in self.stages}
        cascade, keep = stages.get("cascade"), getattr(stages.get("filter"), "keep", None)
        if not isinstance(cascade, Cascade) or keep is None or "keep" in cascade.model_fields_set:
            return self
        if cascade.keep != keep:
            here, there = (
                " ".join(f"{name}={value}" for name, value in rule.model_dump().items())
                for rule in (keep, cascade.keep)
            )
            raise ValueError(
                f"the cascade asks the rows around {there}, but the filter's keep is {here}: say "
                f"which is meant. --set stages.cascade.keep.{here} asks around the filter's "
                f"threshold; --set stages.cascade.keep.{there} leaves the band where it is, and "
                "asks nothing anew"
            )
        return self

    @model_validator(mode="after")
    def _what_is_compared_is_embedded(self) -> Config:
        stages = {stage.kind: stage for stage in self.stages}
        embed, dedup = stages.get("embed"), stages.get("dedup")
        if not isinstance(embed, Embed) or not isinstance(dedup, Dedup):
            return self
        if dedup.method == "semantic" and embed.text not in ("both", dedup.compare):
            raise ValueError(
                f"dedup compares {dedup.compare} but embed makes vectors of {embed.text}: "
                f"--set embed.text={dedup.compare}, or --set dedup.compare={embed.text}"
            )
        return self

    @model_validator(mode="after")
    def _draws_are_taken_once(self) -> Config:
        stages = {stage.kind: stage for stage in self.stages}
        score = stages.get("score")
        cascade = stages.get("cascade")
        if isinstance(score, Score) and isinstance(cascade, Cascade) and score.k > 0:
            cascade.go_on_from(score, score.k)
        return self

    @model_validator(mode="after")
    def _calibration_knows_the_cascade(self) -> Config:
        """Draws that no weight falls on change nothing, and are not paid for."""
        stages = {stage.kind: stage for stage in self.stages}
        calibrate = stages.get("calibrate")
        if "cascade" in stages and isinstance(calibrate, Calibrate):
            calibrate.require_signal_of_cascade()
        return self

    @model_validator(mode="after")
    def _prices_are_known_to_a_cap(self) -> Config:
        if self.budget.max_usd is not None:
            for role in sorted({role for stage in self.stages for role in stage.roles()}):
                if prices(model := self.model_for(role)) is None:
                    raise ValueError(f"models.{role}: {model.model}: {UNPRICED}")
        return self

    def model_for(self, role: str) -> ModelSettings:
        """Settings of the model that serves a role.

        Raises:
            ConfigError: No model serves it.
        """
        for name in (role,) if role in UNSHARED else (role, "scorer"):
            if name in self.models:
                return self.models[name]
        if role in UNSHARED:
            raise ConfigError(UNSHARED[role])
        raise ConfigError(f"no model for role {role!r}; give --model NAME or models.scorer")

    def to_yaml(self) -> str:
        """The resolved config as YAML; it holds no key."""
        data = self.model_dump(mode="json", exclude_none=True)
        return yaml.safe_dump(data, sort_keys=False, allow_unicode=True)


def build_config(
    file: Path | YamlSource | None = None,
    *,
    flags: Mapping[str, Any] | None = None,
    stages: Sequence[str] | None = None,
    preset: str | None = None,
    calibration: Path | None = None,
    decontaminate: Sequence[Path] = (),
    assignments: Sequence[str] = (),
) -> Config:
    """Put a config together: defaults, then the file, then the command line.

    Args:
        file: YAML, see `docs/config.md`; or what was read of it.
        flags: Values by section, merged over the file's: {"models": {"scorer": {...}}, ...}.
        stages: Kinds of the stages to run, in order; None = the file's, else the usual chain.
        preset: Of the score; `paper` sets filter and rectify as well.
        calibration: File of the stage `calibrate`, which is added to the chain.
        decontaminate: Files and directories of the stage `decontaminate`, which is added first.
        assignments: `a.b=value`, the value in YAML; stages by kind: `stages.filter.keep.count=9`.

    Raises:
        ConfigError: With file, line and column, what was found and what was expected.
    """
    source = read_yaml(file) if isinstance(file, Path) else file or COMMAND_LINE
    data = merged(source.data, flags or {})
    data["models"] = models_of(data.get("models"), source)
    chain = decontaminated(chain_of(data, stages, preset), decontaminate)
    data["stages"] = calibrated(chain, calibration)
    for assignment in assignments:
        assign(data, assignment)
    leave_behind(data["models"], source, flags or {}, assignments)
    try:
        config = Config.model_validate(data)
    except ValidationError as error:
        raise ConfigError(_explained(error, source)) from None  # its text repeats the values
    require_key_files(config.models.items(), source)
    return config


def export_settings(directory: Path, **given: object) -> ExportSettings:
    """Settings of another export of a run: those of its own, but for the values that are given.

    The rest of the run's config, such as a file with a key, need not be there any more.

    Args:
        directory: Of the run.
        given: Values by name, from the command line.

    Raises:
        ConfigError: A value is not allowed, with those that are; or the config cannot be read.
    """
    file = directory / CONFIG
    own = read_yaml(file).section("export") if file.is_file() else COMMAND_LINE
    try:
        return ExportSettings.model_validate({**own.data, **given})
    except ValidationError as error:
        raise ConfigError(_explained(error, COMMAND_LINE if given else own)) from error


def _too_late(columns: Sequence[str], there: set[str]) -> str | None:
    """The stage that should have seen these columns of a confidence, if one has run already."""
    refines = [REFINED.index(name) for name in columns if name in REFINED]
    if refines and "keep" in there:
        return "filter"
    more = [name for rank in refines for name in REFINED[:rank] if name in there]
    return f"the stage that adds {more[0]!r}" if more else None


def _explained(error: ValidationError, source: YamlSource) -> str:
    return explained(error, source, kinds=STAGE_KINDS, known=_known_keys())


def _known_keys() -> Mapping[str, Sequence[str]]:
    """The keys below each place that has some, places as `--set` takes them; the top is ""."""
    stages: tuple[type[BaseModel], ...] = (
        Decontaminate, Embed, Dedup, Score, Cascade, Calibrate, SecondOpinion, Filter, Rectify,
    )  # fmt: skip
    sections: dict[str, type[BaseModel]] = {
        "": Config,
        "models.scorer": ModelSettings,
        "batch": BatchSettings,
        "budget": BudgetSettings,
        "engine": EngineSettings,
        "load": LoadSettings,
        "export": ExportSettings,
        **dict(zip(STAGE_KINDS, stages, strict=True)),
    }
    keys = {place: tuple(model.model_fields) for place, model in sections.items()}
    return {**keys, "models": ROLES}
