"""Checkpoints of a training, and which of them can be gone on from."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from clear_pipeline.durable import write_text_atomically

CHECKPOINTS: Final = "checkpoints"
"""Their folder in that of the training."""
_WHOLE: Final = "whole.json"
"""Written last. A checkpoint without it was cut short by a kill, and is none."""
_NAME: Final = "checkpoint-"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A whole checkpoint.

    Attributes:
        path: Its directory.
        step: After which it was written.
        ended: Whether training was over then.
    """

    path: Path
    step: int
    ended: bool


def mark_whole(folder: Path, step: int, *, ended: bool) -> None:
    """Say that the checkpoint of a step is complete."""
    text = json.dumps({"ended": ended})
    write_text_atomically(folder / f"{_NAME}{step}" / _WHOLE, text)


def drop_cut_short(folder: Path) -> None:
    """Delete what a kill left of checkpoints: it may be of other settings, and none counts it."""
    for path in folder.glob(f"{_NAME}*"):
        if not (path / _WHOLE).exists():
            shutil.rmtree(path, ignore_errors=True)


def newest(folder: Path) -> Checkpoint | None:
    """The last whole checkpoint in a folder."""
    return max(_whole(folder), key=lambda each: each.step, default=None)


def at_step(folder: Path, step: int | None) -> Checkpoint | None:
    """The whole checkpoint of a step."""
    return next((each for each in _whole(folder) if each.step == step), None)


def _whole(folder: Path) -> Iterator[Checkpoint]:
    for path in folder.glob(f"{_NAME}*/{_WHOLE}"):
        ended = json.loads(path.read_bytes())["ended"]
        yield Checkpoint(path.parent, int(path.parent.name.removeprefix(_NAME)), ended)
