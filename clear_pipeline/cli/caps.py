"""The command with a higher cap, when one is reached."""

from __future__ import annotations

from collections.abc import Sequence

from clear_pipeline.errors import BudgetExceededError
from clear_pipeline.llm.caps import cap_option, cap_value


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
