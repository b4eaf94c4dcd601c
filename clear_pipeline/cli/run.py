"""`clear-pipeline run`: the whole chain over a dataset."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from clear_pipeline.answer_key import KeyReport, compare, key_beside
from clear_pipeline.cli.consent import ask, refuse_unattended, show_models
from clear_pipeline.cli.console import errors, next_command, output, tell, this_command
from clear_pipeline.cli.groups import grouped
from clear_pipeline.cli.options import CapOptions, ChainOptions, Data, Yes
from clear_pipeline.cli.progress import TerminalProgress
from clear_pipeline.cli.resumable import resumable
from clear_pipeline.config import Config
from clear_pipeline.errors import BatchPendingError, UsageError
from clear_pipeline.estimate import Estimate, words
from clear_pipeline.llm.catalog import embedded_model
from clear_pipeline.pipeline import Pipeline
from clear_pipeline.remote import local_directory
from clear_pipeline.report import views
from clear_pipeline.report.next_commands import next_after
from clear_pipeline.report.text import visible
from clear_pipeline.run import Run


@grouped
def run(
    data: Data,
    out: Annotated[
        Path,
        typer.Option(
            parser=local_directory,
            metavar="PATH",
            help="Run directory; an existing one is resumed.",
        ),
    ],
    *,
    chain: ChainOptions,
    caps: CapOptions,
    engine: Annotated[
        str | None, typer.Option(help="local, or ray: the stages run on a Ray cluster.")
    ] = None,
    yes: Yes = False,
) -> None:
    """Find, fix or drop the bad rows of DATA, and export a clean set."""
    where = {} if engine is None else {"engine": {"kind": engine}}
    settings = chain.settings(**caps.flags(), **where)
    if not yes:
        refuse_unattended(settings, work="run")
    finished = _finished(settings, data, out, yes=yes)
    output.print(views.summary(finished))
    if (key := key_beside(data)) is not None:
        _print_key(finished, key, settings)
    next_command(next_after("run", finished))


def _finished(settings: Config, data: str, out: Path, *, yes: bool) -> Run:
    """The run, or the exit that says how it goes on."""
    pipeline = Pipeline(
        settings,
        progress=TerminalProgress(errors),
        when_checked=partial(show_models, settings),
        before_calls=partial(_announce, config=settings, yes=yes),
    )
    try:
        with resumable():
            finished = pipeline.run(data, out=out)
    except BatchPendingError as waiting:
        tell(str(waiting))
        next_command(this_command())
        raise typer.Exit(waiting.exit_code) from None
    return finished


def _announce(estimate: Estimate, *, config: Config, yes: bool) -> None:
    """What is left to ask; whether it may be asked, if it costs anything."""
    if estimate.need.calls.high == 0:
        return
    errors.print(Text(f"estimate: {words.summary(estimate)}"))
    for told in words.caps(estimate, config.budget):
        errors.print(Text(told))
    if not yes and (estimate.usd is None or estimate.usd.high > 0):
        ask(config, work="run")


def _print_key(finished: Run, key: Path, settings: Config) -> None:
    try:
        report = compare(finished, key)
    except UsageError as error:  # the run is done and good, whatever lies beside its data
        tell(f"no comparison with the answer key: {error}")
        return
    output.print(_key_table(report))
    _own_limits(settings)


def _key_table(report: KeyReport) -> Table:
    table = Table(title="Planted faults", title_justify="left")
    for name, justify in (("fault", "left"), ("rows", "right"), ("caught", "right")):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    table.add_column("missed")
    for fault in report.faults:
        table.add_row(
            Text(visible(fault.fault)),
            str(fault.rows),
            str(fault.caught),
            Text(visible(" ".join(fault.missed) or "-")),
        )
    table.add_row("(none: good rows)", str(report.good), "", f"{report.good_kept} kept unchanged")
    if report.absent:
        table.add_row("(rows that were not read)", str(report.absent), "", "")
    return table


def _own_limits(config: Config) -> None:
    entry = embedded_model(config.model_for("scorer"))
    if entry is not None:
        output.print(Text(f"{entry.name}: {entry.limits}"), soft_wrap=True)
