"""What a run will ask of its models, told before it asks: calls, tokens, dollars."""

from clear_pipeline.estimate import words
from clear_pipeline.estimate.estimate import QUICK, THOROUGH, Effort, Underway, estimate
from clear_pipeline.estimate.figures import (
    NOTHING,
    Estimate,
    ModelNote,
    Need,
    Span,
    StageEstimate,
)

__all__ = [
    "NOTHING",
    "QUICK",
    "THOROUGH",
    "Effort",
    "Estimate",
    "ModelNote",
    "Need",
    "Span",
    "StageEstimate",
    "Underway",
    "estimate",
    "words",
]
