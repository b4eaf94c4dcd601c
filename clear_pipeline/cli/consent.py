"""Which models serve a command, and whether it may spend money on them."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence

import typer
from rich.text import Text

from clear_pipeline.cli.console import errors, without
from clear_pipeline.config import Config
from clear_pipeline.errors import UsageError
from clear_pipeline.llm.caps import cap_shown
from clear_pipeline.llm.catalog import embedded_model
from clear_pipeline.llm.pricing import price_source, prices
from clear_pipeline.llm.settings import BudgetSettings, ModelSettings


def introduce(config: Config, *, yes: bool, work: str) -> None:
    """Say which model serves and what it cannot do; ask before priced work.

    Args:
        config: Names the models.
        yes: Whether priced work has been agreed to.
        work: What the command does, as in "this RUN costs money".

    Raises:
        UsageError: The work is priced and there is nobody to ask.
    """
    introduce_models(_models(config), config.budget, yes=yes, work=work)


def introduce_models(
    models: Sequence[ModelSettings], budget: BudgetSettings, *, yes: bool, work: str
) -> None:
    """`introduce` for models that are no roles of a run."""
    if not yes:
        refuse_models_unattended(models, budget, work=work)
    show_models_of(models)
    if not yes:
        ask_models(models, budget, work=work)


def show_models(config: Config) -> None:
    """Say which models serve and what they cannot do."""
    show_models_of(_models(config))


def show_models_of(models: Sequence[ModelSettings]) -> None:
    """`show_models` for models that are no roles of a run."""
    for settings in models:
        entry = embedded_model(settings)
        if entry is None:
            errors.print(Text(f"model: {settings.model} at {settings.url}"))
        else:
            errors.print(Text(f"model: {settings.model}, embedded, for {entry.good_for}."))
            errors.print(Text(f"{entry.limits} For more: --model NAME, or --base-url URL"))


def refuse_unattended(config: Config, *, work: str) -> None:
    """Stop before anything is read if nobody can be asked.

    Args:
        config: Names the models.
        work: What the command does; for a run, the command that tells its price is named.

    Raises:
        UsageError: The work is priced and there is no terminal.
    """
    refuse_models_unattended(_models(config), config.budget, work=work)


def refuse_models_unattended(
    models: Sequence[ModelSettings], budget: BudgetSettings, *, work: str
) -> None:
    """`refuse_unattended` for models that are no roles of a run."""
    where = _priced(models)
    if where and not sys.stdin.isatty():
        price = f"; its price: {_estimate_command()}" if work == "run" else ""
        raise UsageError(
            f"this {work} costs money{_cap(budget)}: {where}. "
            f"Add --yes to start it without a terminal{price}"
        )


def _estimate_command() -> str:
    """The run that was typed, as the command that tells what it would take."""
    words = without(sys.argv[2:], options=["--engine"], flags=["--yes"])
    return shlex.join(["clear-pipeline", "estimate", *words])


def ask(config: Config, *, work: str) -> None:
    """Whether priced work may begin.

    Raises:
        UsageError: There is nobody to ask.
    """
    ask_models(_models(config), config.budget, work=work)


def ask_models(models: Sequence[ModelSettings], budget: BudgetSettings, *, work: str) -> None:
    """`ask` for models that are no roles of a run."""
    refuse_models_unattended(models, budget, work=work)
    if where := _priced(models):
        typer.confirm(f"This {work} costs money{_cap(budget)}: {where}. Start it?", abort=True)


def _cap(budget: BudgetSettings) -> str:
    cap = budget.max_usd
    return "" if cap is None else f", at most {cap_shown('max_usd', cap)}"


def _models(config: Config) -> list[ModelSettings]:
    """Those that are asked, each once."""
    roles = [role for stage in config.stages for role in stage.roles()]
    return list(dict.fromkeys(config.model_for(role) for role in roles))


def _priced(models: Sequence[ModelSettings]) -> str:
    """The models that cost something and where their prices are from; "" if all are free."""
    known = {settings: prices(settings) for settings in models}
    paid = [settings for settings, its in known.items() if its is None or not its.is_free]
    return "; ".join(f"{m.model} at prices {price_source(m)}" for m in paid)
