"""What the score stage knows of one row: its columns, and the row that fills them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

import pyarrow as pa

from clear_pipeline.scoring.bsdetector import share_of_draws
from clear_pipeline.scoring.choice import Via
from clear_pipeline.stages.usage import USAGE

COLUMNS: Final = pa.schema(
    [
        pa.field("confidence", pa.float64()),
        pa.field("score_status", pa.string()),
        pa.field("score_error", pa.large_string()),
        pa.field("reflection", pa.float64()),
        pa.field("reflections", pa.map_(pa.string(), pa.float64())),
        pa.field("choice_mass", pa.float64()),
        pa.field("reflection_via", pa.string()),
        pa.field("reflection_whole", pa.float64()),
        pa.field("reflection_view", pa.string()),
        pa.field("consistency", pa.float64()),
        pa.field("entailment", pa.float64()),
        pa.field("exact_match", pa.float64()),
        pa.field("draws", pa.list_(pa.large_string())),
        pa.field("likelihood", pa.float64()),
        pa.field("logp_given_prompt", pa.float64()),
        pa.field("logp_alone", pa.float64()),
        pa.field("response_tokens", pa.int64()),
        pa.field("response_cut", pa.bool_()),
        pa.field("reflection_usage", USAGE),
        pa.field("consistency_usage", USAGE),
        pa.field("likelihood_usage", USAGE),
    ]
)
"""What `Score` adds; null = not computed for this row. docs/scoring.md explains each column."""


@dataclass(slots=True)
class RowScore:
    """One row of `COLUMNS`, filled part by part, so that a failure keeps what came before it."""

    confidence: float | None = None
    score_status: Literal["scored", "unscored"] | None = None
    score_error: str | None = None
    reflection: float | None = None
    reflections: Mapping[str, float] | None = None
    choice_mass: float | None = None
    reflection_via: Via | None = None
    reflection_whole: float | None = None
    reflection_view: str | None = None
    consistency: float | None = None
    entailment: float | None = None
    exact_match: float | None = None
    draws: list[str] | None = None
    likelihood: float | None = None
    logp_given_prompt: float | None = None
    logp_alone: float | None = None
    response_tokens: int | None = None
    response_cut: bool | None = None
    reflection_usage: Mapping[str, int] | None = None
    consistency_usage: Mapping[str, int] | None = None
    likelihood_usage: Mapping[str, int] | None = None

    def weighable(self) -> dict[str, float]:
        """The parts by the names that `Score.weights` knows them by."""
        parts = dict(self.reflections or {})
        if self.consistency is not None:
            parts["consistency"] = share_of_draws(self.consistency, len(self.draws or ()))
        if self.likelihood is not None:
            parts["likelihood"] = self.likelihood
        return parts
