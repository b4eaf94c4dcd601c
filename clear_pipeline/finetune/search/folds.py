"""Rows to learn from and rows to measure on, for every trial the same."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from clear_pipeline.durable import write_text_atomically
from clear_pipeline.errors import UsageError
from clear_pipeline.finetune.base import Finding, TrainingData
from clear_pipeline.finetune.rows import MIN_ROWS, TrainingRow, training_rows
from clear_pipeline.schema import canonical_json, normalise

FOLDS: Final = 5
FEW_ROWS: Final = 500
"""With fewer training rows, what is held out of them is too few to choose by: folds are cut."""


def parts_of(data: TrainingData, folds: int | None, seed: int, folder: Path) -> list[TrainingData]:
    """The files of every training of a trial; they are written where folds are cut.

    Args:
        data: The training files.
        folds: See `SearchSettings.folds`.
        seed: Of the cut.
        folder: For the files of the folds.

    Raises:
        UsageError: The rows are too few for so many folds, or nothing is there to measure on.
    """
    rows = [row for row in training_rows(data.train) if not isinstance(row, Finding)]
    mixed_in = [row for row in rows if data.mix is not None and row.line >= data.mix.first_line]
    own = rows[: len(rows) - len(mixed_in)]
    if folds is None:
        folds = 1 if data.valid is not None and len(own) >= FEW_ROWS else FOLDS
    if folds == 1:
        if data.valid is None:
            raise UsageError("folds: 1 measures on validation rows: name some with --valid")
        return [TrainingData(data.train, data.valid)]
    held_out = cut([prompt_of(row) for row in own], folds, seed)
    _require_enough(data.train, held_out, folds)
    return [_part(folder / f"{fold + 1}", own, held_out, fold, mixed_in) for fold in range(folds)]


def prompt_of(row: TrainingRow) -> str:
    """What stands before the first turn that is learnt; white space does not count."""
    first = row.learnt.index(True) if True in row.learnt else len(row.turns) - 1
    return canonical_json(
        [[turn.role, normalise(turn.content or ""), turn.tool_calls] for turn in row.turns[:first]]
    )


def cut(prompts: Sequence[str], folds: int, seed: int) -> list[int]:
    """The fold of each row; rows of one prompt share theirs, and folds are as equal as they can be.

    Prompts with most rows come first, each into the fold that is smallest then; those with as many
    rows are shuffled.
    """
    rows: dict[str, list[int]] = defaultdict(list)
    for index, prompt in enumerate(prompts):
        rows[prompt].append(index)
    sizes, found = [0] * folds, [0] * len(prompts)
    for prompt in sorted(rows, key=lambda each: (-len(rows[each]), _shuffled(each, seed))):
        fold = sizes.index(min(sizes))
        sizes[fold] += len(rows[prompt])
        for index in rows[prompt]:
            found[index] = fold
    return found


def _shuffled(prompt: str, seed: int) -> str:
    return hashlib.sha256(f"{seed}\n{prompt}".encode("utf-8", "surrogatepass")).hexdigest()


def _require_enough(path: Path, held_out: Sequence[int], folds: int) -> None:
    sizes = [held_out.count(fold) for fold in range(folds)]
    least = len(held_out) - max(sizes)
    if least < MIN_ROWS:
        raise UsageError(
            f"{path}: {len(held_out)} usable rows in {folds} folds leave {least} to learn from; a "
            f"training needs at least {MIN_ROWS}: give more rows"
        )
    if not min(sizes):
        raise UsageError(
            f"{path}: only {folds - sizes.count(0)} different prompts, which cannot be parted into "
            f"{folds} folds; set folds in the file of --search, or give more rows"
        )


def _part(
    folder: Path,
    rows: Sequence[TrainingRow],
    held_out: Sequence[int],
    fold: int,
    mixed_in: Sequence[TrainingRow],
) -> TrainingData:
    """Both files of one fold.

    General rows are never measured on, and learnt from unless they ask what is measured here.
    """
    sides = list(zip(rows, held_out, strict=True))
    learnt = [row for row, at in sides if at != fold]
    measured = [row for row, at in sides if at == fold]
    asked = {prompt_of(row) for row in measured}
    learnt += [row for row in mixed_in if prompt_of(row) not in asked]
    return TrainingData(
        _written(folder / "train.jsonl", learnt),
        _written(folder / "valid.jsonl", measured),
    )


def _written(path: Path, rows: Sequence[TrainingRow]) -> Path:
    write_text_atomically(path, "".join(f"{json.dumps(row.record)}\n" for row in rows))
    return path
