"""Fine-tuning on a training file, by one of several trainers."""

from clear_pipeline.finetune.base import (
    CancellableTrainer,
    Finding,
    Point,
    Price,
    Standing,
    Trained,
    Trainer,
    TrainingContext,
    TrainingData,
)
from clear_pipeline.finetune.registry import TRAINERS, trainer_named
from clear_pipeline.finetune.work import cancel_training, check, fine_tune, read_trained

__all__ = [
    "TRAINERS",
    "CancellableTrainer",
    "Finding",
    "Point",
    "Price",
    "Standing",
    "Trained",
    "Trainer",
    "TrainingContext",
    "TrainingData",
    "cancel_training",
    "check",
    "fine_tune",
    "read_trained",
    "trainer_named",
]
