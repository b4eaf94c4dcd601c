"""`clear-pipeline batch`: the open batches of a run."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import typer
from rich.table import Table
from rich.text import Text

from clear_pipeline.cli.console import RunPath, next_command, output, tell
from clear_pipeline.config import build_config
from clear_pipeline.errors import ClearPipelineError, UnwritableError
from clear_pipeline.llm.batch.batch import Batch
from clear_pipeline.llm.batch.batches import Batches
from clear_pipeline.llm.batch.record import RECORD
from clear_pipeline.own_loop import in_own_loop
from clear_pipeline.report.next_commands import from_here
from clear_pipeline.report.text import visible
from clear_pipeline.rounds import open_batches
from clear_pipeline.run import Run, open_run
from clear_pipeline.store import BATCHES, CONFIG, Store

batch_app = typer.Typer(help="The open batches of a run.", no_args_is_help=True)


@batch_app.callback()
def _several() -> None:
    """The open batches of a run."""


@batch_app.command("cancel")
def cancel(run: RunPath) -> None:
    """Have nothing more of a run's open batches answered; what has been stays to be used."""
    opened = open_run(run)
    with Store(run).locked():
        cancelled = _with_batches(opened, Batches.cancel, read_only=False)
    if not cancelled:
        output.print(Text("no batch is open"))
    else:
        output.print(batches_table(cancelled))
    if (command := from_here(opened)) is not None:
        next_command(command)


def current_batches(run: Run) -> Sequence[Batch]:
    """The open batches of a run, as their provider sees them now or, if it is silent, last did."""
    try:
        return _with_batches(run, Batches.look, read_only=True)
    except UnwritableError as error:
        tell(f"open batches are not shown: {error}")
        return []
    except ClearPipelineError as error:
        tell(f"batches as they were last seen: {error}")
        return _with_batches(run, _as_recorded, read_only=True)


def batches_table(batches: Sequence[Batch]) -> Table:
    """One line per batch."""
    table = Table(title="open batches", title_justify="left")
    for name in ("batch", "stage", "model", "state"):
        table.add_column(name, overflow="fold")
    for name in ("requests", "answered", "failed"):
        table.add_column(name, justify="right")
    table.add_column("id", overflow="fold")
    for batch in batches:
        table.add_row(
            str(batch.number),
            batch.stage,
            Text(batch.model.model),
            Text(visible(batch.state)),
            *(f"{count:,}" for count in (batch.requests, batch.answered, batch.failed)),
            Text(visible(batch.batch_id or "-")),
        )
    return table


async def _as_recorded(batches: Batches) -> list[Batch]:
    return batches.open()


def _with_batches(
    run: Run, work: Callable[[Batches], Awaitable[list[Batch]]], *, read_only: bool
) -> Sequence[Batch]:
    """What `work` says of the batches of a run; nothing if it never made one."""
    if not (run.path / BATCHES / RECORD).is_file():
        return []
    config = build_config(Path(run.path / CONFIG))

    async def opened() -> list[Batch]:
        batches = open_batches(config, run.path, tell, read_only=read_only)
        try:
            return await work(batches)
        finally:
            await batches.close()

    return in_own_loop(opened())
