"""What rectify tells about a row: its columns, and a row of them while it is being made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import pyarrow as pa

from clear_pipeline.schema import MESSAGE, Message
from clear_pipeline.scoring.preference import Verdict
from clear_pipeline.stages.candidates import DRAWS
from clear_pipeline.stages.usage import USAGE

Outcome: TypeAlias = Literal["replaced", "not_preferred", "confirmed", "refused", "failed"]
"""What became of a row in scope: a new target; candidates that were judged and not taken, that said
the same as the row, or that were no targets; or no answer."""

COLUMNS = pa.schema(
    [
        pa.field("candidate", pa.large_string()),
        pa.field("preference", pa.float64()),
        pa.field("preference_first", pa.float64()),
        pa.field("preference_second", pa.float64()),
        pa.field("verdict", pa.string()),
        pa.field("rectified", pa.bool_()),
        pa.field("new_target", MESSAGE),
        pa.field("rectify_reason", pa.large_string()),
        pa.field("rectify_outcome", pa.string()),
        pa.field("candidate_draws", DRAWS),
        pa.field("response_diff", pa.large_string()),
        pa.field("candidate_usage", USAGE),
        pa.field("judge_usage", USAGE),
    ]
)
"""What `rectify` adds; null where there was no candidate, or no row in scope."""


@dataclass(slots=True)
class RowRepair:
    """One row of `COLUMNS`, filled step by step, so that a failure keeps what came before it."""

    candidate: str | None = None
    preference: float | None = None
    preference_first: float | None = None
    preference_second: float | None = None
    verdict: Verdict | None = None
    rectified: bool | None = None
    new_target: Message | None = None
    rectify_reason: str | None = None
    rectify_outcome: Outcome | None = None
    candidate_draws: dict[str, int] | None = None
    response_diff: str | None = None
    candidate_usage: dict[str, int] | None = None
    judge_usage: dict[str, int] | None = None

    def end(self, outcome: Outcome, reason: str) -> RowRepair:
        """Say what became of the row, and why."""
        self.rectify_outcome = outcome
        self.rectify_reason = reason
        self.rectified = outcome == "replaced"
        return self
