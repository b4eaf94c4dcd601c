"""The caps on the command line, and the command with a higher one when one of them is reached."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from clear_pipeline.errors import BudgetExceededError
from clear_pipeline.llm.caps import cap_option, cap_value

MaxUsd = Annotated[float | None, typer.Option(min=0, help="Stop before more dollars are spent.")]
MaxTokens = Annotated[int | None, typer.Option(min=0, help="Stop before more tokens are spent.")]
MaxCalls = Annotated[int | None, typer.Option(min=0, help="Stop before more calls are made.")]


def caps_of(max_usd: float | None, max_tokens: int | None, max_calls: int | None) -> dict[str, Any]:
    """What the options say, as sections of a config."""
    caps = {"max_usd": max_usd, "max_tokens": max_tokens, "max_calls": max_calls}
    given = {name: value for name, value in caps.items() if value is not None}
    return {"budget": given} if given else {}


def with_higher_cap(words: Sequence[str], error: BudgetExceededError) -> list[str]:
    """The words of a command with a cap that is likely to do.

    It is twice the one that stopped it or more: enough for the next call, and for all rows if
    those to come take what those before took.
    """
    option, setting = cap_option(error.cap), f"budget.{error.cap}="
    kept: list[str] = []
    rest = iter(words)
    for word in rest:
        if word == option:
            next(rest, None)
        elif word == "--set":
            assignment = next(rest, "")
            kept += [] if assignment.startswith(setting) else [word, assignment]
        elif not word.startswith((f"{option}=", f"--set={setting}")):
            kept.append(word)
    enough = max(2 * error.limit, error.needed, error.projected)
    return [*kept, option, cap_value(error.cap, enough)]
