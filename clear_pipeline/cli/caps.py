"""The command with a higher cap, when one is reached."""

from __future__ import annotations

from collections.abc import Sequence

from clear_pipeline.errors import BudgetExceededError
from clear_pipeline.llm.caps import cap_option, cap_words


def with_higher_cap(words: Sequence[str], error: BudgetExceededError) -> list[str]:
    """The words of a command with a cap that is likely to do, in place of the one that it has."""
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
    return [*kept, *cap_words(error.cap, error.enough)]
