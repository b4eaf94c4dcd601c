"""Does it work? Figures about a run from labels that the run never saw."""

from clear_pipeline.evaluate.labels import Labels, read_labels
from clear_pipeline.evaluate.scores import NamedDetection, ScoreReport, evaluate_scores
from clear_pipeline.evaluate.statistics import Detection, Estimate, detection, paired_difference

__all__ = [
    "Detection",
    "Estimate",
    "Labels",
    "NamedDetection",
    "ScoreReport",
    "detection",
    "evaluate_scores",
    "paired_difference",
    "read_labels",
]
