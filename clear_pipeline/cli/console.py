"""The two consoles: results on standard output, everything else on standard error."""

from __future__ import annotations

import json
import logging
import shlex
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from clear_pipeline.errors import ClearPipelineError
from clear_pipeline.report.text import visible

RunPath = Annotated[Path, typer.Argument(help="Run directory.")]
Json = Annotated[bool, typer.Option("--json", help="For a script to read.")]

output = Console(highlight=False, soft_wrap=False)
errors = Console(stderr=True, highlight=False, soft_wrap=True)


def fail(error: ClearPipelineError) -> None:
    """Print an error as it is: what, where and the fix, no traceback."""
    errors.print(Text("error: ", style="bold red") + Text(visible(str(error)), style=""))


def tell(text: str) -> None:
    """Print a line that may repeat what files or servers say: nothing in it hides, or is obeyed."""
    errors.print(Text(visible(text)))


class Warnings(logging.Handler):
    """Shows the package's warnings on standard error, as they are."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)

    def emit(self, record: logging.LogRecord) -> None:
        """Print one line."""
        tell(f"warning: {record.getMessage()}")


def next_command(command: str) -> None:
    """Tell what to type next."""
    output.print(Text("next: ", style="bold") + Text(visible(command)), soft_wrap=True)


def this_command() -> str:
    """What was typed."""
    return shlex.join(["clear-pipeline", *sys.argv[1:]])


def without(
    words: Sequence[str], *, options: Collection[str] = (), flags: Collection[str] = ()
) -> list[str]:
    """The words of a command less what another command does not know.

    Args:
        words: As they were typed.
        options: Left out with their values, as in `--name value` and `--name=value`.
        flags: Left out; they have no value.
    """
    kept, rest = [], iter(words)
    for word in rest:
        if word in options:
            next(rest, None)
        elif word not in flags and word.partition("=")[0] not in options:
            kept.append(word)
    return kept


def print_json(value: Any) -> None:  # noqa: ANN401  # any JSON value
    """Print for a script to read: no colour, no wrapping."""
    print(json.dumps(value, ensure_ascii=False, indent=1))  # noqa: T201
