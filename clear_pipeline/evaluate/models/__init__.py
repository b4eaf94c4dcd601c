"""Does a model answer held-out rows better? Arms compared on one test set, row by row."""

from clear_pipeline.evaluate.models.arms import (
    Arm,
    EvaluationSettings,
    JudgeSettings,
    read_settings,
)
from clear_pipeline.evaluate.models.evaluation import ModelEvaluation, predictions_file
from clear_pipeline.evaluate.models.plan import EvaluationPlan
from clear_pipeline.evaluate.models.report import EvaluationReport

__all__ = [
    "Arm",
    "EvaluationPlan",
    "EvaluationReport",
    "EvaluationSettings",
    "JudgeSettings",
    "ModelEvaluation",
    "predictions_file",
    "read_settings",
]
