"""`clear-pipeline finetune`: a model trained on a run's rows, or on any training file."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from clear_pipeline.cli.console import (
    Json,
    errors,
    next_command,
    output,
    print_json,
    this_command,
)
from clear_pipeline.cli.options import Yes
from clear_pipeline.cli.progress import TerminalProgress
from clear_pipeline.cli.resumable import resumable
from clear_pipeline.config import build_config
from clear_pipeline.errors import BatchPendingError, UsageError
from clear_pipeline.finetune import (
    TRAINERS,
    Price,
    Trained,
    TrainingContext,
    TrainingData,
    fine_tune,
    trainer_named,
)
from clear_pipeline.outputs import export_run
from clear_pipeline.own_loop import in_own_loop
from clear_pipeline.remote import local_directory
from clear_pipeline.report.next_commands import run_words
from clear_pipeline.run import Run, open_run
from clear_pipeline.store import CONFIG


def finetune(
    source: Annotated[
        Path, typer.Argument(metavar="RUN_OR_FILE", help="A finished run, or OpenAI chat JSONL.")
    ],
    out: Annotated[
        Path,
        typer.Option(
            parser=local_directory,
            metavar="PATH",
            help="Directory of the training; an existing one is resumed.",
        ),
    ],
    *,
    trainer: Annotated[str, typer.Option(help=f"One of {', '.join(TRAINERS)}.")] = "lora",
    valid: Annotated[
        Path | None, typer.Option(help="Validation rows; default: those that the run held out.")
    ] = None,
    assign: Annotated[
        list[str] | None, typer.Option("--set", help="setting=value, as in learning_rate=1e-4")
    ] = None,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Train a model on the rows of a run or of a file."""
    made = trainer_named(trainer, assign or [])
    run = open_run(source) if source.is_dir() else None
    data = TrainingData(source, valid) if run is None else _exported(run, out, valid)
    ctx = TrainingContext(out, TerminalProgress(errors))
    try:
        with resumable():
            trained = in_own_loop(
                fine_tune(made, data, ctx, before=lambda price: _ask(price, yes=yes))
            )
    except BatchPendingError as waiting:
        errors.print(Text(str(waiting)))
        next_command(this_command())
        raise typer.Exit(waiting.exit_code) from None
    if as_json:
        print_json(trained.model_dump(mode="json"))
        return
    output.print(_table(trained))
    output.print(Text(f"{out}: trained.json, curve.svg"), soft_wrap=True)
    next_command(_next(run, trained))


def _exported(run: Run, out: Path, valid: Path | None) -> TrainingData:
    """The run's training files in the one format of trainers, beside the training."""
    settings = build_config(run.path / CONFIG).export
    folder = out / "data"
    export_run(
        run, folder, settings.model_copy(update={"format": "openai", "extra_columns": "drop"})
    )
    held_out = folder / "valid.jsonl"
    if valid is None and held_out.is_file() and held_out.stat().st_size:
        valid = held_out
    return TrainingData(folder / "train.jsonl", valid)


def _ask(price: Price, *, yes: bool) -> None:
    """Whether a training that costs something may begin.

    Raises:
        UsageError: There is nobody to ask.
    """
    if price.usd == 0 or yes:
        return
    dollars = "an unknown sum" if price.usd is None else f"about ${price.usd:,.2f}"
    tokens = "" if price.tokens is None else f" for {price.tokens:,} tokens"
    told = f"This training costs {dollars}{tokens}, by {price.basis}."
    if not sys.stdin.isatty():
        raise UsageError(f"{told} Add --yes to start it without a terminal")
    typer.confirm(f"{told} Start it?", abort=True)


def _table(trained: Trained) -> Table:
    table = Table(title="Trained", title_justify="left", show_header=False)
    table.add_row("model", Text(trained.model.model))
    if trained.model.base_url is not None:
        table.add_row("at", Text(trained.model.base_url))
    for name, value in trained.summary.items():
        table.add_row(name, Text(_shown(value)))
    return table


def _shown(value: str | float | None) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4f}"
    return value if isinstance(value, str) else f"{value:,}"


def _next(run: Run | None, trained: Trained) -> str:
    """As the paper has it, the trained model writes the candidates of the next round."""
    model = trained.model
    if run is not None and "rectify" in run.manifest.chain:
        words = [*run_words(run), "--set", f"models.candidate.model={model.model}"]
        words[words.index("--out") + 1] = f"{run.path}-2"
        if model.base_url is not None:
            words += ["--set", f"models.candidate.base_url={model.base_url}"]
        return shlex.join(words)
    words = ["clear-pipeline", "run", "DATA", "--out", "RUN", "--model", model.model]
    return shlex.join([*words, *(["--base-url", model.base_url] if model.base_url else [])])
