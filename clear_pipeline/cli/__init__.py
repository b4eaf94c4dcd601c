"""The command line. Every command ends with what it did and the next command to type."""

from __future__ import annotations

import logging
import sys
from typing import Annotated

import typer

from clear_pipeline import __version__
from clear_pipeline.cli.batch import batch_app
from clear_pipeline.cli.calibrate import calibrate
from clear_pipeline.cli.console import Warnings, fail, output
from clear_pipeline.cli.estimate import estimate
from clear_pipeline.cli.evaluate import evaluate_app
from clear_pipeline.cli.finetune import finetune
from clear_pipeline.cli.inspect import register as register_inspect
from clear_pipeline.cli.loop import loop
from clear_pipeline.cli.model import model_app
from clear_pipeline.cli.probe import probe
from clear_pipeline.cli.run import run
from clear_pipeline.errors import ClearPipelineError

app = typer.Typer(
    name="clear-pipeline",
    help="CLEAR (Chen & Mueller 2024): find, fix or drop the bad rows of a fine-tuning set.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _version(asked: bool) -> None:  # noqa: FBT001  # as Typer calls it
    if asked:
        output.print(f"clear-pipeline {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    *,
    _asked: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say which it is.")
    ] = False,
) -> None:
    """What may stand before a command."""


app.command()(run)
app.command()(estimate)
app.command()(probe)
app.command()(calibrate)
app.command()(finetune)
app.command()(loop)
register_inspect(app)
app.add_typer(batch_app, name="batch")
app.add_typer(model_app, name="model")
app.add_typer(evaluate_app, name="evaluate")


def main() -> None:
    """Entry point: run a command and turn this package's errors into messages and exit codes."""
    logging.getLogger("clear_pipeline").addHandler(Warnings())
    try:
        app()
    except ClearPipelineError as error:
        fail(error)
        sys.exit(error.exit_code)
    except OSError as error:  # a full disk, a file that may not be read or written
        place = f"{error.filename}: " if error.filename else ""
        fail(ClearPipelineError(f"{place}{error.strerror or error}"))
        sys.exit(ClearPipelineError.exit_code)
