"""A command with a higher cap, where one does not suffice."""

from __future__ import annotations

from collections.abc import Sequence

from clear_pipeline.llm.caps import cap_option, cap_words


def with_cap(words: Sequence[str], cap: str, value: float) -> list[str]:
    """The words of a command with another value of this cap, at least `value`, in its place."""
    option, setting = cap_option(cap), f"budget.{cap}="
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
    return [*kept, *cap_words(cap, value)]
