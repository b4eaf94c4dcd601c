"""`status`, `explain`, `rows`, `report`, `export`, `index`: looking at a run, asking no model."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import Annotated, Final, Literal

import typer
from rich.table import Table
from rich.text import Text

from clear_pipeline.cli.batch import batches_table, current_batches
from clear_pipeline.cli.console import Json, RunPath, next_command, output, print_json
from clear_pipeline.config import export_settings
from clear_pipeline.export import EXPORT_FORMATS
from clear_pipeline.outputs import export_run, index_run
from clear_pipeline.remote import is_remote, local_path
from clear_pipeline.report import views, write_report
from clear_pipeline.report.explain import explanation, explanation_json, row_called
from clear_pipeline.report.next_commands import first_rows, from_here, next_after
from clear_pipeline.report.text import visible
from clear_pipeline.run import open_run

_AS_RUN: Final = "else as in the run's own export"


def status(run: RunPath, *, as_json: Json = False) -> None:
    """Where a run stands: fates, calls, spend, what is next."""
    opened = open_run(run)
    if as_json:
        states = [batch.to_json() for batch in current_batches(opened)]
        print_json({**views.status_json(opened), "batches": states})
        return
    if batches := current_batches(opened):
        output.print(batches_table(batches))
    output.print(views.status(opened))
    if (command := from_here(opened)) is not None:
        next_command(command)


def explain(
    run: RunPath,
    row_id: Annotated[str, typer.Argument(help="As in the ledger.")],
    *,
    as_json: Json = False,
) -> None:
    """Everything about one row: its fate, why, each score, the texts."""
    opened = open_run(run)
    row = row_called(opened, row_id)
    if as_json:
        print_json(explanation_json(opened, row))
        return
    output.print(explanation(opened, row))
    next_command(next_after("explain", opened))


def rows(
    run: RunPath,
    *,
    fate: Annotated[str | None, typer.Option(help="kept, filtered, duplicate ...")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 20,
    sort: Annotated[str | None, typer.Option(help="By this column, largest first.")] = None,
    as_json: Json = False,
) -> None:
    """Rows of one fate, with confidence, reason and the start of the texts."""
    opened = open_run(run)
    if as_json:
        print_json(views.rows_json(opened, fate=fate, limit=limit, sort=sort))
        return
    output.print(views.rows(opened, fate=fate, limit=limit, sort=sort))
    first = views.rows_json(opened, fate=fate, limit=1, sort=sort)
    next_command(next_after("rows", opened, row=first[0]["id"] if first else None))


def report(run: RunPath) -> None:
    """Write report.html anew."""
    opened = open_run(run)
    path = write_report(opened)
    output.print(Text(f"{path}: {path.stat().st_size / 1e6:.1f} MB, opens offline"))
    next_command(next_after("report", opened))


def export(
    run: RunPath,
    out: Annotated[
        str, typer.Option(help="Directory for the training files, here or at s3://, gs://, hf://.")
    ],
    *,
    format_: Annotated[
        str, typer.Option("--format", help=f"One of {', '.join(EXPORT_FORMATS)}.")
    ] = "openai",
    valid_fraction: Annotated[
        float | None, typer.Option(min=0, max=0.99, help=f"Expected share held out; {_AS_RUN}.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help=f"Of the split; {_AS_RUN}.")] = None,
    on_unscored: Annotated[str | None, typer.Option(help=f"drop or keep; {_AS_RUN}.")] = None,
    extra_columns: Annotated[str | None, typer.Option(help=f"keep or drop; {_AS_RUN}.")] = None,
) -> None:
    """Write the training files of a finished run again, in any format."""
    opened = open_run(run)
    told = {
        "valid_fraction": valid_fraction,
        "seed": seed,
        "on_unscored": on_unscored,
        "extra_columns": extra_columns,
    }
    given = {name: value for name, value in told.items() if value is not None}
    result = export_run(opened, out, export_settings(opened.path, format=format_, **given))
    where = f" to {visible(out)}" if is_remote(out) else ""
    table = Table(
        title=Text(f"Exported as {result.format}{where}"), title_justify="left", show_header=False
    )
    for name, count in (
        ("train", result.train),
        ("valid", result.valid),
        ("of these rectified", result.rectified),
        ("removed", result.removed),
        (f"of these not expressible as {result.format}", result.inexpressible),
    ):
        table.add_row(name, f"{count:,}")
    output.print(table)
    if not is_remote(out):
        next_command(first_rows(local_path(out), result.format))


def index(
    run: RunPath,
    out: Annotated[Path, typer.Option(help="The file to write.")],
    *,
    unit: Annotated[Literal["word", "character"], typer.Option(help="As dedup.unit.")] = "word",
) -> None:
    """Write an index of the rows that a finished run exports, to dedup later data against."""
    rows = index_run(open_run(run), out, unit)
    size = out.stat().st_size
    table = Table(title=Text(f"Index {visible(str(out))}"), title_justify="left", show_header=False)
    table.add_row("rows", f"{rows:,}")
    table.add_row("bytes", f"{size:,}")
    output.print(table)
    next_command(f"clear-pipeline run DATA --out NEW_RUN --set dedup.against={quote(str(out))}")


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    for command in (status, explain, rows, report, export, index):
        app.command()(command)
