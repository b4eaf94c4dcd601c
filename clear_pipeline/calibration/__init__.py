"""Combining the parts of a confidence: a ranking from corruptions, P(good) from human marks.

And the eta of rectify, from labelled rows.
"""

from clear_pipeline.calibration.eta import EtaCalibration, LabelledRepair, fit_eta
from clear_pipeline.calibration.file import Calibration
from clear_pipeline.calibration.marks import Marks, fit_marks
from clear_pipeline.calibration.ranking import fit_ranking
from clear_pipeline.scoring.scored_by import ScoredBy

__all__ = [
    "Calibration",
    "EtaCalibration",
    "LabelledRepair",
    "Marks",
    "ScoredBy",
    "fit_eta",
    "fit_marks",
    "fit_ranking",
]
