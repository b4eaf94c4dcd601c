"""Where a second model disagrees with the scorer."""

from __future__ import annotations

import shlex
from typing import Final

import pyarrow.compute as pc

from clear_pipeline.run import Run

LARGE: Final = 0.5
"""A disagreement above this is counted: one of the two finds the row bad."""


def opinion_line(run: Run, *, where: str | None = None) -> str | None:
    """How often the second model disagrees, in a sentence; None without a second opinion.

    Args:
        run: A finished run.
        where: What the command in it calls the run's directory; None = as it was opened.

    Raises:
        UsageError: The run has no ledger yet.
    """
    if "second_opinion" not in run.manifest.chain:
        return None
    seen = large = 0
    for batch in run.ledger_batches(["disagreement"]):
        found = batch["disagreement"].drop_null()
        seen += len(found)
        large += pc.sum(pc.greater(found, LARGE)).as_py() or 0
    command = f"clear-pipeline rows {shlex.quote(where or str(run.path))} --sort disagreement"
    return (
        f"second opinion: of {seen:,} rows that the scorer is sure of, {large:,} are "
        f"doubted by the second model (disagreement above {LARGE:g}); read them: {command}"
    )
