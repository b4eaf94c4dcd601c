"""Fine-tuning on a training file, by one of several trainers."""

from clear_pipeline.finetune.balance import Balance, Mix, Source
from clear_pipeline.finetune.base import (
    CancellableTrainer,
    Finding,
    Measured,
    Point,
    Price,
    SearchableTrainer,
    Standing,
    Trained,
    Trainer,
    TrainingContext,
    TrainingData,
)
from clear_pipeline.finetune.general import GeneralCheck
from clear_pipeline.finetune.registry import TRAINERS, balance_named, trainer_named
from clear_pipeline.finetune.work import cancel_training, check, fine_tune, read_trained

__all__ = [
    "TRAINERS",
    "Balance",
    "CancellableTrainer",
    "Finding",
    "GeneralCheck",
    "Measured",
    "Mix",
    "Point",
    "Price",
    "SearchableTrainer",
    "Source",
    "Standing",
    "Trained",
    "Trainer",
    "TrainingContext",
    "TrainingData",
    "balance_named",
    "cancel_training",
    "check",
    "fine_tune",
    "read_trained",
    "trainer_named",
]
