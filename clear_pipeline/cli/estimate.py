"""`clear-pipeline estimate`: what a run would ask for and cost, before anything is paid."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from clear_pipeline.cli.caps import with_cap
from clear_pipeline.cli.consent import show_models
from clear_pipeline.cli.console import Json, errors, next_command, output, print_json, without
from clear_pipeline.cli.groups import grouped
from clear_pipeline.cli.options import CapOptions, ChainOptions, Data
from clear_pipeline.cli.progress import TerminalProgress
from clear_pipeline.estimate import THOROUGH, words
from clear_pipeline.estimate.figures import Estimate, Need, Span
from clear_pipeline.estimate.revised import ShortCap
from clear_pipeline.pipeline import Pipeline
from clear_pipeline.remote import local_directory


@grouped
def estimate(
    data: Data,
    *,
    out: Annotated[
        Path | None,
        typer.Option(
            parser=local_directory, metavar="PATH", help="A run that has begun: what is left of it."
        ),
    ] = None,
    chain: ChainOptions,
    caps: CapOptions,
    rows: Annotated[
        int, typer.Option(min=1, help="Rows that the stages are rehearsed on, at most.")
    ] = THOROUGH.rows,
    as_json: Json = False,
) -> None:
    """Say what a run of DATA with these options would ask for, without a paid call."""
    settings = chain.settings(**caps.flags())
    pipeline = Pipeline(
        settings,
        progress=TerminalProgress(errors),
        when_checked=None if as_json else partial(show_models, settings),
    )
    found = pipeline.estimate(data, out=out, effort=replace(THOROUGH, rows=rows))
    if as_json:
        short = [each.to_json() for each in words.short_of(found, settings.budget)]
        print_json({**found.to_json(), "short_caps": short})
        return
    if not found.stages:
        output.print("no model is left to ask")
    else:
        output.print(_table(found))
    for line in [*words.remarks(found), *words.caps(found, settings.budget)]:
        output.print(Text(line), soft_wrap=True)
    next_command(_run_command(out, words.short_of(found, settings.budget)))


def _run_command(out: Path | None, short: Sequence[ShortCap]) -> str:
    """This command as a run: without the words that a run does not know, with caps that suffice."""
    typed = sys.argv[sys.argv.index("estimate") + 1 :]
    kept = without(typed, options=["--rows"], flags=["--json"])
    for each in short:
        kept = with_cap(kept, each.cap, each.enough)
    command = shlex.join(["clear-pipeline", "run", *kept])
    return command if out is not None else f"{command} --out RUN"


def _table(found: Estimate) -> Table:
    title = f"{found.rows:,} rows, rehearsed on {found.sampled:,}"
    table = Table(title=title, title_justify="left")
    table.add_column("stage")
    for name in ("rows", "calls", "prompt", "cached", "completion", "dollars"):
        table.add_column(name, justify="right")
    for line in found.stages:
        label = line.stage if len(found.models) == 1 else f"{line.stage} ({line.model})"
        table.add_row(label, f"{line.rows:,}", *_cells(line.need, line.usd))
    if len(found.stages) > 1:
        table.add_section()
        table.add_row("all", "", *_cells(found.need, found.usd))
    return table


def _cells(need: Need, usd: Span | None) -> list[str]:
    spans = (need.calls, need.prompt, need.cached, need.completion)
    return [*map(words.short, spans), words.dollars(usd, between="-")]
