"""What decides a loop: the config of its runs, who trains, and when it ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import nextafter
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import Field, ValidationError

from clear_pipeline.config import EMBEDDER, Config, build_config
from clear_pipeline.config_errors import explained
from clear_pipeline.config_values import assign
from clear_pipeline.errors import ConfigError
from clear_pipeline.evaluate.models.arms import PAPER_TOKENS
from clear_pipeline.finetune import Balance, Trainer, balance_named, trainer_named
from clear_pipeline.llm.catalog import embedded_model
from clear_pipeline.llm.open import model_identity
from clear_pipeline.llm.pricing import prices
from clear_pipeline.llm.settings import ModelSettings, Prices
from clear_pipeline.load import discover
from clear_pipeline.schema import JSON
from clear_pipeline.settings import Settings
from clear_pipeline.stages.cascade import Cascade
from clear_pipeline.stages.filter import Confidence, Filter, Precision, Quantile
from clear_pipeline.yaml_source import COMMAND_LINE, read_yaml

SECTIONS: Final = ("trainer", "loop")
"""Keys of a loop's file beside those of a config."""
NEEDED: Final = ("score", "filter", "rectify")
"""Stages without which there is no round."""


class LoopSettings(Settings):
    """How many rounds there are, and what a round is measured by."""

    rounds: Annotated[int, Field(ge=1)] = 1
    """At most so many."""
    min_gain: Annotated[float, Field(ge=0, le=1)] = 0.005
    """A round that gains less is the last one."""
    metric: Literal["token_f1", "exact_match"] = "token_f1"
    """What the gain is a difference of."""
    hold_out: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Without a test file, share of the rows that the first filter keeps which are the test rows.
    They are trained on in no round."""
    seed: int = 0
    """Of the draw of these rows."""
    max_answer_tokens: Annotated[int, Field(ge=1)] = PAPER_TOKENS
    """Longest answer to a test row."""
    price_per_mtok: Prices | None = None
    """Of the answers of trained models, where somebody else serves them; None = as listed."""

    def identity(self) -> dict[str, JSON]:
        """What of it decides the result of a round: neither how many there are, nor prices."""
        return self.model_dump(mode="json", exclude={"rounds", "min_gain", "price_per_mtok"})


class _Section(Settings):
    """What of a loop's file is neither a config's nor the trainer's, below its key."""

    loop: LoopSettings


_KNOWN: Final = {
    "loop": tuple(LoopSettings.model_fields),
    "loop.price_per_mtok": tuple(Prices.model_fields),
}


@dataclass(frozen=True, slots=True)
class LoopConfig:
    """A loop before it begins.

    Attributes:
        config: Of its runs, with the whole chain; no model has the role `candidate`.
        trainer: Who trains.
        settings: When it ends.
        test: Held-out rows; None = some of the rows that the first filter keeps.
        balance: General rows of every training.
    """

    config: Config
    trainer: Trainer
    settings: LoopSettings
    test: Path | None = None
    balance: Balance = field(default_factory=Balance)

    def identity(self) -> dict[str, JSON]:
        """What decides its results, but for data and test rows: neither caps nor who computes."""
        config = self.config
        models: dict[str, JSON] = {
            role: model_identity(model, embeds=role == EMBEDDER)
            for role, model in sorted(config.models.items())
        }
        stages: list[JSON] = [stage.identity() for stage in config.stages]
        return {
            "models": models,
            "load": config.load.model_dump(mode="json"),
            "stages": stages,
            "export": config.export.model_dump(mode="json"),
            "trainer": {"version": self.trainer.version, **self.trainer.identity()},
            "balance": self.balance.identity(),
            "loop": self.settings.identity(),
        }

    def sifting(self) -> Config:
        """Of the first run: all before candidates can be written, since nobody is trained yet."""
        stages = tuple(stage for stage in self.config.stages if stage.kind != "rectify")
        return self.config.model_copy(update={"stages": stages})

    def curating(self, writer: ModelSettings, threshold: float | None, *, later: bool) -> Config:
        """Of a run with candidates.

        Args:
            writer: Who writes them.
            threshold: From which rows of the first round were kept; None = the config's own rule.
            later: Whether it reads rows that the loop wrote, and not DATA.
        """
        update: dict[str, Any] = {"models": {**self.config.models, "candidate": writer}}
        if later:
            update["load"] = self.config.load.of_own_rows()
        if threshold is not None:
            # Nothing lies below 0: there all rows are as sure as the last one that was kept.
            keep: Confidence | Quantile = Quantile(quantile=0.0)
            if threshold > 0:
                keep = Confidence(confidence=nextafter(threshold, 0.0))
            update["stages"] = tuple(_above(stage, keep) for stage in self.config.stages)
        return self.config.model_copy(update=update)

    def require_general_rows(self) -> None:
        """Look, before anything is spent, whether the general rows of the trainings are there.

        Raises:
            NothingReadableError: A source of them is not.
            RemoteError: A place elsewhere cannot be listed.
        """
        for source in self.balance.places():
            discover(source)

    def priced(self, trained: ModelSettings) -> ModelSettings:
        """A trained model with the price of its answers, where one was given."""
        if self.settings.price_per_mtok is None:
            return trained
        return trained.model_copy(update={"price_per_mtok": self.settings.price_per_mtok})

    def asked(self, base: ModelSettings | None) -> tuple[ModelSettings, ...]:
        """The models that are asked and known before anything is trained, each once."""
        roles = [role for stage in self.config.stages for role in stage.roles()]
        models = [self.config.model_for(role) for role in roles if role != "candidate"]
        return tuple(dict.fromkeys([*models, *([] if base is None else [self.priced(base)])]))

    def require_possible(self, base: ModelSettings | None) -> None:
        """Look, before anything is spent, whether trained models can be asked as is wanted.

        Args:
            base: The model that is trained, as it is asked; None = it may not be here yet.

        Raises:
            ConfigError: There is a cap in dollars and the price of their answers is not known, or
                they take no batches.
        """
        here = base is None or embedded_model(base) is not None
        if self.config.mode != "live" and here:
            raise ConfigError(
                f"loop: mode {self.config.mode} needs models of an endpoint, and what the trainer "
                f"{self.trainer.name} makes is served on this machine: --mode live"
            )
        if self.config.budget.max_usd is None or base is None:
            return
        known = prices(self.priced(base))
        if self.settings.price_per_mtok is None and not (known is not None and known.is_free):
            raise ConfigError(
                "loop: max_usd needs the price of what the trained models answer, which is not "
                f"that of {base.model}: --set 'loop.price_per_mtok={{input: DOLLARS, output: "
                "DOLLARS}'"
            )


def _above(stage: Any, keep: Confidence | Quantile) -> Any:  # noqa: ANN401  # one of the union of stages
    """A stage with the threshold of the first round, in its filter and around it."""
    if isinstance(stage, Filter | Cascade) and not isinstance(stage.keep, Precision):
        return stage.model_copy(update={"keep": keep})
    return stage


def build_loop(
    file: Path | None = None,
    *,
    trainer: str | None = None,
    given: Mapping[str, Any] | None = None,
    test: Path | None = None,
    assignments: Sequence[str] = (),
    **chain: Any,  # noqa: ANN401  # as of `build_config`
) -> LoopConfig:
    """Put a loop together: defaults, then the file, then the command line.

    Args:
        file: YAML: the keys of a config, and the sections `trainer` and `loop`.
        trainer: Name of the trainer; None = the `kind` in the file, else the default.
        given: Settings of the loop that stand above the file's.
        test: Held-out rows.
        assignments: `trainer.setting=value`, `loop.setting=value`, others as of `build_config`.
        chain: Further arguments of `build_config`.

    Raises:
        ConfigError: A setting is wrong, or the chain is none that can go round.
        UsageError: There is no such trainer.
    """
    source = COMMAND_LINE if file is None else read_yaml(file)
    own = {name: [a for a in assignments if a.startswith(f"{name}.")] for name in SECTIONS}
    rest = [a for a in assignments if not a.startswith(tuple(f"{name}." for name in SECTIONS))]
    config = build_config(source.without(*SECTIONS), assignments=rest, **chain)
    _require_rounds(config)
    data: dict[str, Any] = {"loop": {**source.section("loop").data, **(given or {})}}
    for assignment in own["loop"]:
        assign(data, assignment)
    try:
        settings = _Section.model_validate(data).loop
    except ValidationError as error:
        raise ConfigError(explained(error, source, kinds=(), known=_KNOWN)) from None
    names = [assignment.removeprefix("trainer.") for assignment in own["trainer"]]
    training = source.section("trainer")
    made = trainer_named(trainer, names, file=training, beside=Balance.model_fields)
    balance = balance_named(names, file=training)
    return LoopConfig(config, made, settings, test, balance)


def _require_rounds(config: Config) -> None:
    """Make sure that a chain has what a round is made of.

    Raises:
        ConfigError: It lacks a stage, or names who writes candidates.
    """
    there = [stage.kind for stage in config.stages]
    if missing := [kind for kind in NEEDED if kind not in there]:
        raise ConfigError(
            f"loop: a round needs the stage {missing[0]}, and this chain is {', '.join(there)}; "
            "name a model that can judge with --model, or the chain with "
            "--stages dedup,score,filter,rectify"
        )
    if "candidate" in config.models:
        raise ConfigError(
            "loop: models.candidate: the models that the loop trains write the candidates; leave "
            "it out"
        )
