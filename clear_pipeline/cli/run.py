"""`clear-pipeline run`: the whole chain over a dataset."""

from __future__ import annotations

import shlex
import sys
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from clear_pipeline.answer_key import KeyReport, compare, key_beside
from clear_pipeline.cli.caps import MaxCalls, MaxTokens, MaxUsd, caps_of, stopped
from clear_pipeline.cli.console import errors, next_command, output
from clear_pipeline.cli.progress import TerminalProgress
from clear_pipeline.config import Config, build_config
from clear_pipeline.errors import BatchPendingError, BudgetExceededError, UsageError
from clear_pipeline.estimate import Estimate, words
from clear_pipeline.llm.catalog import embedded_model
from clear_pipeline.llm.pricing import price_source, prices
from clear_pipeline.llm.settings import ModelSettings
from clear_pipeline.pipeline import Pipeline
from clear_pipeline.report import views
from clear_pipeline.run import Run


def run(  # noqa: PLR0913  # one parameter per option that users rely on
    data: Annotated[Path, typer.Argument(help="File or directory of mixed formats.")],
    out: Annotated[Path, typer.Option(help="Run directory; an existing one is resumed.")],
    *,
    config: Annotated[Path | None, typer.Option(help="YAML, see docs/config.md.")] = None,
    model: Annotated[str | None, typer.Option(help="Model name at the endpoint.")] = None,
    base_url: Annotated[str | None, typer.Option(help="OpenAI-compatible endpoint.")] = None,
    preset: Annotated[str | None, typer.Option(help="fast, best, paper or likelihood.")] = None,
    stages: Annotated[str | None, typer.Option(help="For example load,dedup,export.")] = None,
    mapping: Annotated[
        str | None, typer.Option("--map", help="prompt=question,response=answer")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first N rows.")] = None,
    calibration: Annotated[
        Path | None, typer.Option(help="File of `clear-pipeline calibrate`.")
    ] = None,
    mode: Annotated[
        str | None, typer.Option(help="live, batch (half the price) or offline (files).")
    ] = None,
    assign: Annotated[
        list[str] | None, typer.Option("--set", help="a.b=value, as in filter.keep.count=500")
    ] = None,
    max_usd: MaxUsd = None,
    max_tokens: MaxTokens = None,
    max_calls: MaxCalls = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before priced work.")] = False,
) -> None:
    """Find, fix or drop the bad rows of DATA, and export a clean set."""
    settings = build_config(
        config,
        flags={
            **flags_of(model, base_url, mapping, limit, has_config=config is not None),
            **caps_of(max_usd, max_tokens, max_calls),
            **({} if mode is None else {"mode": mode}),
        },
        stages=None if stages is None else [s.strip() for s in stages.split(",") if s.strip()],
        preset=preset,
        calibration=calibration,
        assignments=assign or (),
    )
    show_models(settings)
    if not yes:
        refuse_unattended(settings, work="run")
    pipeline = Pipeline(
        settings,
        progress=TerminalProgress(errors),
        before_calls=partial(_announce, config=settings, yes=yes),
    )
    try:
        finished = pipeline.run(data, out=out)
    except KeyboardInterrupt:
        errors.print("interrupted; the same command resumes it")
        raise typer.Exit(130) from None
    except BudgetExceededError as error:
        raise stopped(error) from None
    except BatchPendingError as waiting:
        errors.print(Text(str(waiting)))
        next_command(f"clear-pipeline status {shlex.quote(str(out))}")
        raise typer.Exit(waiting.exit_code) from None
    output.print(views.summary(finished))
    key = key_beside(data)
    if key is not None:
        _print_key(finished, key, settings)
    row = "ROW_ID"
    removed = finished.ledger(["id"], fate="filtered")
    if removed.num_rows:
        row = removed["id"][0].as_py()
    next_command(f"clear-pipeline explain {shlex.quote(str(out))} {shlex.quote(row)}")


def _print_key(finished: Run, key: Path, settings: Config) -> None:
    try:
        report = compare(finished, key)
    except UsageError as error:  # the run is done and good, whatever lies beside its data
        errors.print(f"no comparison with the answer key: {error}", markup=False)
        return
    output.print(_key_table(report))
    _own_limits(settings)


def flags_of(
    model: str | None,
    base_url: str | None,
    mapping: str | None,
    limit: int | None,
    *,
    has_config: bool,
) -> dict[str, Any]:
    """What the options about model and input say, as sections of a config.

    Raises:
        UsageError: They contradict each other.
    """
    if base_url is not None and model is None and not has_config:
        raise UsageError("--base-url needs --model NAME, the name that the endpoint serves")
    flags: dict[str, Any] = {}
    scorer = {"model": model, "base_url": base_url}
    if given := {name: value for name, value in scorer.items() if value is not None}:
        flags["models"] = {"scorer": given}
    load: dict[str, Any] = {}
    if mapping is not None:
        pairs = [pair.partition("=") for pair in mapping.split(",")]
        if not all(key and value for key, _, value in pairs):
            raise UsageError(f"--map {mapping}: expected prompt=COLUMN,response=COLUMN")
        load["map"] = {key.strip(): value.strip() for key, _, value in pairs}
    if limit is not None:
        load["limit"] = limit
    if load:
        flags["load"] = load
    return flags


def introduce(config: Config, *, yes: bool, work: str) -> None:
    """Say which model serves and what it cannot do; ask before priced work.

    Args:
        config: Names the models.
        yes: Whether priced work has been agreed to.
        work: What the command does, as in "this RUN costs money".

    Raises:
        UsageError: The work is priced and there is nobody to ask.
    """
    show_models(config)
    if not yes:
        _ask(config, work=work)


def show_models(config: Config) -> None:
    """Say which models serve and what they cannot do."""
    for settings in _models(config):
        entry = embedded_model(settings)
        if entry is None:
            errors.print(Text(f"model: {settings.model} at {settings.url}"))
        else:
            errors.print(Text(f"model: {settings.model}, embedded, for {entry.good_for}."))
            errors.print(Text(f"{entry.limits} For more: --model NAME, or --base-url URL"))


def refuse_unattended(config: Config, *, work: str) -> None:
    """Stop before anything is read if nobody can be asked.

    Raises:
        UsageError: The work is priced and there is no terminal.
    """
    where = _priced(config)
    if where and not sys.stdin.isatty():
        raise UsageError(
            f"this {work} costs money{_cap(config)}: {where}. "
            "Add --yes to start it without a terminal"
        )


def _ask(config: Config, *, work: str) -> None:
    """Whether priced work may begin.

    Raises:
        UsageError: There is nobody to ask.
    """
    refuse_unattended(config, work=work)
    if where := _priced(config):
        typer.confirm(f"This {work} costs money{_cap(config)}: {where}. Start it?", abort=True)


def _cap(config: Config) -> str:
    cap = config.budget.max_usd
    return "" if cap is None else f", at most ${cap:,.2f}"


def _announce(estimate: Estimate, *, config: Config, yes: bool) -> None:
    """What is left to ask; whether it may be asked, if it costs anything."""
    if estimate.need.calls.high == 0:
        return
    errors.print(Text(f"estimate: {words.summary(estimate)}"))
    if not yes and (estimate.usd is None or estimate.usd.high > 0):
        _ask(config, work="run")


def _models(config: Config) -> list[ModelSettings]:
    """Those that are asked, each once."""
    roles = [role for stage in config.stages for role in stage.roles()]
    return list(dict.fromkeys(config.model_for(role) for role in roles))


def _priced(config: Config) -> str:
    """The models that cost something and where their prices are from; "" if all are free."""
    known = {settings: prices(settings) for settings in _models(config)}
    paid = [settings for settings, its in known.items() if its is None or not its.is_free]
    return "; ".join(f"{m.model} at prices {price_source(m)}" for m in paid)


def _key_table(report: KeyReport) -> Table:
    table = Table(title="Planted faults", title_justify="left")
    for name, justify in (("fault", "left"), ("rows", "right"), ("caught", "right")):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    table.add_column("missed")
    for fault in report.faults:
        table.add_row(
            fault.fault, str(fault.rows), str(fault.caught), Text(" ".join(fault.missed) or "-")
        )
    table.add_row("(none: good rows)", str(report.good), "", f"{report.good_kept} kept unchanged")
    if report.absent:
        table.add_row("(rows that were not read)", str(report.absent), "", "")
    return table


def _own_limits(config: Config) -> None:
    entry = embedded_model(config.model_for("scorer"))
    if entry is not None:
        output.print(Text(f"{entry.name}: {entry.limits}"), soft_wrap=True)
