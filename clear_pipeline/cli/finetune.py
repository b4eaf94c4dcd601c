"""`clear-pipeline finetune`: a model trained on a run's rows, or on any training file."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.table import Table
from rich.text import Text

from clear_pipeline.cli.console import (
    Json,
    errors,
    next_command,
    output,
    print_json,
    tell,
    this_command,
)
from clear_pipeline.cli.groups import grouped
from clear_pipeline.cli.price import PriceOptions
from clear_pipeline.cli.progress import TerminalProgress
from clear_pipeline.cli.resumable import resumable
from clear_pipeline.cli.search import SearchOptions, show_search
from clear_pipeline.errors import BatchPendingError, UsageError
from clear_pipeline.finetune import (
    TRAINERS,
    Balance,
    CancellableTrainer,
    Trained,
    Trainer,
    TrainingContext,
    balance_named,
    cancel_training,
    fine_tune,
    trainer_named,
)
from clear_pipeline.finetune.registry import DEFAULT_TRAINER
from clear_pipeline.own_loop import in_own_loop
from clear_pipeline.remote import local_directory
from clear_pipeline.report.next_commands import run_words
from clear_pipeline.run import Run, open_run
from clear_pipeline.schema import JSON
from clear_pipeline.training_data import exported

_ROUTE: Final = ("model", "base_url", "api_key_env", "api_key_file", "revision")
"""What says which model answers, and with which key."""


@dataclass(frozen=True, kw_only=True)
class TrainerOptions:
    """Who trains, and with which settings."""

    trainer: Annotated[
        str | None, typer.Option(help=f"{', '.join(TRAINERS)}; default {DEFAULT_TRAINER}.")
    ] = None
    config: Annotated[
        Path | None, typer.Option(help="Settings of the trainer as YAML, see docs/finetune.md.")
    ] = None
    assign: Annotated[
        list[str] | None, typer.Option("--set", help="setting=value, as in learning_rate=1e-4")
    ] = None
    mix: Annotated[
        list[str] | None,
        typer.Option(
            metavar="DATA",
            help="General rows to train on too, in any format. May be given several times.",
        ),
    ] = None
    mix_share: Annotated[
        float | None, typer.Option(help="Their part of all training rows; 0.1.")
    ] = None
    general: Annotated[
        str | None,
        typer.Option(
            metavar="DATA",
            help="General rows to measure on before and after; default: some held out of --mix.",
        ),
    ] = None

    def made(self) -> Trainer:
        """The trainer.

        Raises:
            UsageError: There is none of that name, or a setting of it is wrong.
        """
        return trainer_named(
            self.trainer, self.assign or (), file=self.config, beside=Balance.model_fields
        )

    def balance(self) -> Balance:
        """The general rows.

        Raises:
            UsageError: A setting of them is wrong.
        """
        return balance_named(
            self.assign or (),
            file=self.config,
            mix=self.mix or (),
            share=self.mix_share,
            general=self.general,
        )


@grouped
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
    how: TrainerOptions,
    searched: SearchOptions,
    valid: Annotated[
        Path | None, typer.Option(help="Validation rows; default: those that the run held out.")
    ] = None,
    cancel: Annotated[
        bool, typer.Option("--cancel", help="End a training that goes on elsewhere.")
    ] = False,
    consent: PriceOptions,
    as_json: Json = False,
) -> None:
    """Train a model on the rows of a run or of a file."""
    made = how.made()
    ctx = TrainingContext(out, TerminalProgress(errors))
    if cancel:
        _cancel(made, ctx)
        return
    run = open_run(source) if source.is_dir() else None
    plan = searched.plan(made)
    try:
        with (
            resumable(),
            exported(
                run or source, out, valid, balance=how.balance(), note=ctx.progress.note
            ) as files,
        ):
            report = None
            if plan is not None:
                made, report = plan.run(files.data, ctx)
                if not as_json:
                    show_search(report)
            work = fine_tune(made, files.data, ctx, before=consent.agree, settled=files.settle)
            trained = in_own_loop(work)
    except BatchPendingError as waiting:
        tell(str(waiting))
        next_command(this_command())
        raise typer.Exit(waiting.exit_code) from None
    if as_json:
        found = {} if report is None else {"search": report.model_dump(mode="json")}
        print_json({**trained.model_dump(mode="json"), **found})
        return
    output.print(_table(trained))
    left = "trained.json, curve.svg" + ("" if report is None else ", search.json, search.svg")
    output.print(Text(f"{out}: {left}"), soft_wrap=True)
    next_command(_next(run, trained))


def _cancel(trainer: Trainer, ctx: TrainingContext) -> None:
    if not isinstance(trainer, CancellableTrainer):
        raise UsageError(f"trainer {trainer.name} has nothing to cancel: Ctrl-C stops it")
    output.print(Text(in_own_loop(cancel_training(trainer, ctx))), soft_wrap=True)


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
    route = trained.model.model_dump(mode="json", include=set(_ROUTE), exclude_defaults=True)
    if run is not None and "rectify" in run.manifest.chain:
        words = run_words(run)
        words[words.index("--out") + 1] = f"{run.path}-2"
        # As a whole, so that nothing is left of another candidate in the config of the run.
        whole = json.dumps({name: route[name] for name in _ROUTE if name in route})
        words += ["--set", f"models.candidate={whole}"]
    else:
        words = ["clear-pipeline", "run", "DATA", "--out", "RUN", *_of_scorer(route)]
    return shlex.join(words)


def _of_scorer(route: Mapping[str, JSON]) -> list[str]:
    """The options by which a model is asked as the scorer."""
    options = {"model": "--model", "base_url": "--base-url"}
    words = []
    for name in filter(route.__contains__, _ROUTE):
        value = str(route[name])
        set_ = ["--set", f"models.scorer.{name}={value}"]
        words += [options[name], value] if name in options else set_
    return words
