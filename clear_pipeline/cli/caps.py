"""The caps on the command line, and the command with a higher one when one of them is reached."""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import ROUND_CEILING, Decimal
from typing import Annotated, Any

import typer

from clear_pipeline.errors import BudgetExceededError

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
    option, setting = f"--{error.cap.replace('_', '-')}", f"budget.{error.cap}="
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
    enough = _rounded_up(max(2 * error.limit, error.needed, error.projected))
    cap = (
        f"{math.ceil(enough * 100) / 100:.2f}" if error.cap == "max_usd" else f"{math.ceil(enough)}"
    )
    return [*kept, option, cap]


def _rounded_up(value: float) -> Decimal:
    """To two significant digits."""
    exact = Decimal(str(value))
    return exact.quantize(Decimal(1).scaleb(exact.adjusted() - 1), rounding=ROUND_CEILING)
