"""Does it work? Figures about a run from labels that the run never saw."""

from clear_pipeline.evaluate.labels import Labels, read_labels
from clear_pipeline.evaluate.pairs import PairFigures, noise_bound, paired, sight
from clear_pipeline.evaluate.scores import NamedDetection, ScoreReport, evaluate_scores
from clear_pipeline.evaluate.statistics import Detection, Estimate, detection, paired_difference

__all__ = [
    "Detection",
    "Estimate",
    "Labels",
    "NamedDetection",
    "PairFigures",
    "ScoreReport",
    "detection",
    "evaluate_scores",
    "noise_bound",
    "paired",
    "paired_difference",
    "read_labels",
    "sight",
]
