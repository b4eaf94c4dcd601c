"""`clear-pipeline evaluate arms`: the training files of "does curation help?" from a run."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from clear_pipeline.cli.console import Json, RunPath, next_command, output, print_json
from clear_pipeline.remote import local_directory
from clear_pipeline.run import open_run

if TYPE_CHECKING:
    from clear_pipeline.evaluate.models.training import TrainingSets


def arms(
    run: RunPath,
    out: Annotated[
        Path, typer.Option(parser=local_directory, metavar="PATH", help="A directory per arm.")
    ],
    *,
    ratings: Annotated[
        Path | None,
        typer.Option(help="A run over the same rows whose score has the question `rating`."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the random half, and of ties.")] = 0,
    as_json: Json = False,
) -> None:
    """Write the training files of RUN that are compared: full, halves, filtered, corrected."""
    from clear_pipeline.evaluate.models.training import training_sets

    rated = None if ratings is None else open_run(ratings)
    written = training_sets(open_run(run), out, ratings=rated, seed=seed)
    if as_json:
        print_json(written.to_json())
        return
    output.print(_table(written))
    for name, why in written.absent.items():
        output.print(Text(f"no {name}: {why}"), soft_wrap=True)
    for remark in written.remarks:
        output.print(Text(remark), soft_wrap=True)
    output.print(Text(f"{out}: arms.json, and train.jsonl of each"), soft_wrap=True)
    last = written.arms[-1]
    trained = Path("runs", f"{last.name}-model")
    words = ["clear-pipeline", "finetune", str(out / last.file), "--out", str(trained)]
    next_command(shlex.join(words))


def _table(written: TrainingSets) -> Table:
    table = Table(title="Training files of the arms", title_justify="left")
    table.add_column("arm")
    table.add_column("rows", justify="right")
    table.add_column("share", justify="right")
    table.add_column("which rows of the run")
    for arm in written.arms:
        share = f"{arm.rows / written.pool:.1%}"
        table.add_row(arm.name, f"{arm.rows:,}", share, Text(arm.meaning))
    return table
