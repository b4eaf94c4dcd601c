"""A training that stops early: the loss curve of a small noisy set, drawn.

    python -m benchmarks.early_stop --out DIR

Made rows ask whether a short review is positive or negative, and three in ten answers are wrong:
there is a rule to be learnt, and nothing but noise after it, which a model of 135 million
parameters can learn by heart. The validation loss falls while the rule is learnt and rises once the
noise is. DIR is the directory of the training; the same command again goes on there, and one that
is over is drawn anew.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Final, TypeAlias

from rich.console import Console

from clear_pipeline.cli.progress import TerminalProgress
from clear_pipeline.durable import write_text_atomically
from clear_pipeline.finetune import Trained, TrainingContext, TrainingData, fine_tune
from clear_pipeline.finetune.lora import Lora
from clear_pipeline.finetune.work import CURVE

Row: TypeAlias = dict[str, list[dict[str, str]]]

TRAIN, VALID, WRONG = 64, 48, 0.3
SETTINGS: Final = Lora(
    epochs=30, batch_size=8, learning_rate=2e-3, schedule="constant", checks_per_epoch=1, patience=3
)
RESULTS: Final = Path(__file__).parent / "results"

THINGS: Final = (
    "soup", "film", "hotel", "book", "concert", "train ride", "coffee", "lecture", "garden",
    "phone", "show", "cake", "museum", "bicycle", "lamp", "novel", "play", "salad", "beach", "game",
)  # fmt: skip
PRAISE: Final = (
    "delightful", "superb", "a joy", "excellent", "wonderful", "better than hoped", "lovely",
    "worth every cent", "charming", "first-rate",
)  # fmt: skip
BLAME: Final = (
    "dreadful", "a waste of money", "poor", "disappointing", "boring", "worse than feared",
    "broken", "a mistake", "tedious", "second-rate",
)  # fmt: skip


def rows(seed: int) -> list[Row]:
    """All that are made, each sentence once, in random order."""
    rng = random.Random(seed)
    made = list(_rows(rng))
    rng.shuffle(made)
    return made


def _rows(rng: random.Random) -> Iterator[Row]:
    for thing in THINGS:
        for words, right, wrong in (
            (PRAISE, "positive", "negative"),
            (BLAME, "negative", "positive"),
        ):
            for word in words:
                turns = (
                    ("system", "Positive or negative?"),
                    ("user", f"The {thing} was {word}."),
                    ("assistant", wrong if rng.random() < WRONG else right),
                )
                yield {"messages": [{"role": role, "content": text} for role, text in turns]}


def main() -> None:
    """Train, draw and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="directory of the training")
    parser.add_argument("--seed", type=int, default=0, help="of the rows")
    parser.add_argument(
        "--base", default=SETTINGS.base, help="model; the default's figures are kept"
    )
    given = parser.parse_args()
    made = rows(given.seed)
    data = TrainingData(
        _written(given.out / "rows" / "train.jsonl", made[:TRAIN]),
        _written(given.out / "rows" / "valid.jsonl", made[TRAIN : TRAIN + VALID]),
    )
    ctx = TrainingContext(given.out, TerminalProgress(Console(stderr=True)))
    trainer = SETTINGS.model_copy(update={"base": given.base})
    trained = asyncio.run(fine_tune(trainer, data, ctx))
    text = told(trained)
    print(text)
    if given.base == SETTINGS.base:
        write_text_atomically(RESULTS / "early_stop.svg", (given.out / CURVE).read_text())
        write_text_atomically(RESULTS / "early_stop.md", text)


def _written(path: Path, made: list[Row]) -> Path:
    write_text_atomically(path, "".join(f"{json.dumps(row)}\n" for row in made))
    return path


def told(trained: Trained) -> str:
    """The figures, and what they show."""
    summary = trained.summary
    measured = [(p.step, p.valid_loss) for p in trained.curve if p.valid_loss is not None]
    table = "\n".join(
        f"| {step} | {loss:.4f} | {_train_loss(trained, step)} |" for step, loss in measured
    )
    steps = SETTINGS.epochs * TRAIN // SETTINGS.batch_size
    return f"""# A training that stops early

`python -m benchmarks.early_stop --out DIR`: `smollm2-135m`, LoRA, a constant rate of
{SETTINGS.peak_rate:g}, {TRAIN} rows to learn from and {VALID} to measure on, three in ten answers
wrong; up to {SETTINGS.epochs} epochs, measured after each, patience {SETTINGS.patience}.

![Losses over the steps of the training](early_stop.svg)

| step | validation loss | training loss, mean of the epoch before it |
|---:|---:|---:|
{table}

It ended after {summary["steps"]} of {steps} steps: {summary["ended"]}. The weights are those of
step {summary["weights of step"]}.
"""


def _train_loss(trained: Trained, step: int) -> str:
    epoch = TRAIN // SETTINGS.batch_size
    losses = [p.train_loss for p in trained.curve if step - epoch < p.step <= step and p.train_loss]
    return f"{sum(losses) / len(losses):.4f}" if losses else "-"


if __name__ == "__main__":
    main()
