"""What is compared: arms, each a name with a model and maybe examples in the prompt; and the judge.

Arms whose names differ only after `@` are one group, trained or drawn from several seeds:
`filter@1`, `filter@2`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, Field, ValidationError, model_validator

from clear_pipeline.config_chain import merged
from clear_pipeline.config_errors import explained
from clear_pipeline.errors import ConfigError, UsageError
from clear_pipeline.llm.catalog import is_model_directory
from clear_pipeline.llm.open import model_identity
from clear_pipeline.llm.settings import BudgetSettings, ModelSettings, Prices
from clear_pipeline.load import LoadSettings
from clear_pipeline.settings import Settings
from clear_pipeline.yaml_source import COMMAND_LINE, read_yaml

_NAME: Final = r"^[A-Za-z0-9][A-Za-z0-9._+-]*(@[0-9]+)?$"
"""Of an arm; it is part of a file's name."""
JUDGE: Final = "judge"
"""Stands for the judge among the models; no arm has the name."""
PAPER_TOKENS: Final = 512
"""Chen & Mueller 2024 let a model write up to so many tokens, at temperature 0."""


class Arm(Settings):
    """One of the models that are compared, as it is asked."""

    name: Annotated[str, Field(pattern=_NAME, max_length=80)]
    """Letters, digits, `.`, `_`, `+` and `-`; `@` and a number at its end tell seeds apart."""
    model: ModelSettings
    """Who answers."""
    few_shot: Annotated[int, Field(ge=0, le=100)] = 0
    """So many rows of `examples` stand before each question, the same for all of them."""
    examples: Path | None = None
    """File that they are drawn from; rows that are also test rows are never drawn."""
    seed: int = 0
    """Of that draw."""

    @property
    def group(self) -> str:
        """The name without its seed."""
        return self.name.partition("@")[0]

    @model_validator(mode="after")
    def _examples_are_there(self) -> Self:
        if (self.few_shot > 0) != (self.examples is not None):
            raise ValueError(f"{self.name}: few_shot: N and examples: FILE go together")
        if self.name == JUDGE:
            raise ValueError(f"name: {JUDGE!r} means the judge; call the arm otherwise")
        return self

    @model_validator(mode="after")
    def _can_be_asked(self) -> Self:
        _require_server(self.model, self.name)
        return self

    def asks(self) -> tuple[str, ...]:
        """What decides its answers: two arms that agree in it are one."""
        shots = (self.few_shot, self.examples, self.seed) if self.few_shot else ()
        return (model_identity(self.model), *map(str, shots))


class JudgeSettings(Settings):
    """A model that marks the answers."""

    model: ModelSettings
    """Who judges; best none of the models that are judged."""
    form: Literal["yes-no", "rating", "preference"] = "yes-no"
    """yes-no: how likely the answer is right. rating: 1 to 5, as 0 to 1. preference: how surely it
    is better than the baseline's, both orders."""

    @model_validator(mode="after")
    def _can_be_asked(self) -> Self:
        _require_server(self.model, JUDGE)
        return self

    def asks(self) -> tuple[str, ...]:
        """What decides its marks; never what decides an arm's answers."""
        return (JUDGE, model_identity(self.model))


def _require_server(model: ModelSettings, name: str) -> None:
    """What lies in a directory here is not what OpenAI would be asked for by that name."""
    path = Path(model.model)
    if model.base_url is None and path.is_dir() and not is_model_directory(path):
        raise ValueError(
            f"{name}: {model.model} is a directory that holds no model (no config.json); where a "
            "server knows it by that name, say where: --base-url URL (base_url in a file)"
        )


class EvaluationSettings(Settings):
    """Everything that decides what comes of a test set."""

    arms: Annotated[tuple[Arm, ...], Field(min_length=1)]
    """What is compared."""
    baseline: str | None = None
    """Group that the others are compared with; None = that of the first arm."""
    judge: JudgeSettings | None = None
    """None = no model judges."""
    max_answer_tokens: Annotated[int, Field(ge=1)] = PAPER_TOKENS
    """Longest answer; a longer one is cut there, and counted."""
    resamples: Annotated[int, Field(ge=100, le=100_000)] = 1000
    """Of the bootstrap."""
    seed: int = 0
    """Of the bootstrap."""
    load: LoadSettings = LoadSettings()
    """How the test file and the files beside it are read."""
    budget: BudgetSettings = BudgetSettings()
    """What may be spent at most."""

    @property
    def groups(self) -> dict[str, tuple[Arm, ...]]:
        """The arms by group, in the order in which groups first occur."""
        names = dict.fromkeys(arm.group for arm in self.arms)
        return {name: tuple(arm for arm in self.arms if arm.group == name) for name in names}

    @property
    def base(self) -> str:
        """The group that the others are compared with."""
        return self.baseline or self.arms[0].group

    def asked(self) -> tuple[ModelSettings, ...]:
        """Every model that is asked, each once."""
        judge = () if self.judge is None else (self.judge.model,)
        return tuple(dict.fromkeys([*(arm.model for arm in self.arms), *judge]))

    @model_validator(mode="after")
    def _arms_are_distinct(self) -> Self:
        # Without case: a name is part of a file's name.
        names = [arm.name.casefold() for arm in self.arms]
        if twice := next((a.name for a in self.arms if names.count(a.name.casefold()) > 1), None):
            raise ValueError(f"two arms are called {twice!r}; seeds are told apart as {twice}@1")
        if self.base not in self.groups:
            raise ValueError(f"baseline: no arm {self.base!r}; there are {', '.join(self.groups)}")
        seen: dict[tuple[str, ...], str] = {}
        for arm in self.arms:
            other = seen.setdefault(arm.asks(), arm.name)
            if other != arm.name:
                raise ValueError(
                    f"{other} and {arm.name} ask the same of one model ({arm.model.model}) and "
                    "would get the same answers; if its weights differ, set `revision` of each to "
                    "a word of its own in the file of --arms"
                )
        return self

    @model_validator(mode="after")
    def _servers_can_be_told_apart(self) -> Self:
        first: dict[str, ModelSettings] = {}
        for model in self.asked():
            other = first.setdefault(model_identity(model), model)
            if other.url != model.url:
                raise ValueError(
                    f"{other.url} and {model.url} both serve {model.model} on one host, and "
                    "answers are kept without the port: set `revision` of each to a word of its "
                    "own in the file of --arms"
                )
        return self


def read_settings(
    file: Path | None, *, arms: Sequence[Mapping[str, Any]] = (), **given: object
) -> EvaluationSettings:
    """The file of arms with what the command line says beside it.

    Args:
        file: YAML with the keys of `EvaluationSettings`, or None.
        arms: Further arms.
        given: Settings that stand above the file's, `load` and `budget` key by key; None = not
            given.

    Raises:
        ConfigError: With file, line and column, what was found and what was expected.
        UsageError: There is no arm.
    """
    source = COMMAND_LINE if file is None else read_yaml(file)
    listed = source.data.get("arms")
    if listed is not None and not isinstance(listed, list):
        raise ConfigError(f"{source.place(['arms'])}: arms: expected a list of arms")
    data = {**source.data, "arms": [*(listed or []), *arms]}
    if not data["arms"]:
        raise UsageError("no arm: give --arm NAME=MODEL, once for each, or --arms FILE")
    for name, value in given.items():
        # Not the judge's: a key in the file is not for another endpoint.
        both = name in ("load", "budget") and isinstance(data.get(name), dict)
        if value is not None:
            data[name] = merged(data, {name: value})[name] if both else value
    try:
        return EvaluationSettings.model_validate(data)
    except ValidationError as error:
        # Without `from`: the text of pydantic's error repeats the values.
        raise ConfigError(explained(error, source, kinds=(), known=_known_keys())) from None


def _known_keys() -> dict[str, tuple[str, ...]]:
    places: Iterable[tuple[str, type[BaseModel]]] = (
        ("", EvaluationSettings),
        ("arms", Arm),
        ("arms.model", ModelSettings),
        ("arms.model.price_per_mtok", Prices),
        ("judge", JudgeSettings),
        ("judge.model", ModelSettings),
        ("load", LoadSettings),
        ("budget", BudgetSettings),
    )
    return {place: tuple(model.model_fields) for place, model in places}
