"""The training files as tokens, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from clear_pipeline.finetune.base import Finding, TrainingData
from clear_pipeline.finetune.lora.labels import Encoded, encode
from clear_pipeline.finetune.lora.settings import Lora
from clear_pipeline.finetune.lora.source import tokenizer_of, weights_of
from clear_pipeline.finetune.rows import MIN_ROWS, training_rows
from clear_pipeline.formats import RowError
from clear_pipeline.llm.budget import count_of
from clear_pipeline.stages.base import Progress


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a training starts from.

    Attributes:
        weights: The GGUF file, or the directory.
        tokenizer: Its own.
        train: Rows to learn from.
        valid: Rows to measure on; may be empty.
        findings: What is wrong with the files.
        general: General rows to measure on, before and after; may be empty.
    """

    weights: Path
    tokenizer: PreTrainedTokenizerBase
    train: Sequence[Encoded]
    valid: Sequence[Encoded]
    findings: tuple[Finding, ...]
    general: Sequence[Encoded] = ()


def prepared(settings: Lora, data: TrainingData, progress: Progress) -> Prepared:
    """Read both files.

    Raises:
        UsageError: A file cannot be read, or the weights hold no usable tokenizer.
        WeightsError: The weights could not be had.
    """
    weights = weights_of(settings.base, note=progress.note)
    tokenizer = tokenizer_of(weights)
    train, findings = _encoded(data.train, tokenizer, settings.max_tokens)
    valid: dict[int, Encoded] = {}
    general: dict[int, Encoded] = {}
    if data.valid is not None:
        valid, more = _encoded(data.valid, tokenizer, settings.max_tokens)
        findings += more
    if data.general is not None:
        general, more = _encoded(data.general, tokenizer, settings.max_tokens)
        findings += more
    own = len(train) if data.mix is None else sum(line < data.mix.first_line for line in train)
    if own < MIN_ROWS:
        few = f"{own} usable rows; a training needs at least {MIN_ROWS}"
        findings.append(Finding(data.train, None, few))
    if told := _of_validation(len(valid)):
        where = data.train if data.valid is None else data.valid
        findings.append(Finding(where, None, told, "warning"))
    findings += _of_general(data, train, general)
    return Prepared(
        weights,
        tokenizer,
        tuple(train.values()),
        tuple(valid.values()),
        tuple(findings),
        tuple(general.values()),
    )


def _of_validation(rows: int) -> str | None:
    """What to say of so many validation rows; None = nothing."""
    if rows == 0:
        return "no validation rows: no step is known to be the best, and all epochs are trained"
    if rows < MIN_ROWS:
        return (
            f"{count_of(rows, 'validation row')} alone to tell which step is the best, and when to "
            "end: give more with --valid FILE or a larger valid_fraction of the run's export; with "
            "a fraction of 0 all epochs are trained"
        )
    return None


def _of_general(
    data: TrainingData, train: Mapping[int, Encoded], general: Mapping[int, Encoded]
) -> Iterator[Finding]:
    """What is left of general rows, where some cannot be used."""
    if data.general is not None and not general:
        none = "no row can be used: what is forgotten is not measured"
        yield Finding(data.general, None, none, "warning")
    if (mix := data.mix) is not None:
        left = sum(line >= mix.first_line for line in train)
        own = len(train) - left
        if left < mix.rows or own < mix.own:
            less = (
                f"{left:,} of {mix.rows:,} general rows and {own:,} of {mix.own:,} others can be "
                f"used: general rows are {left / max(1, len(train)):.1%} of all that are trained on"
            )
            yield Finding(data.train, None, less, "warning")


def _encoded(
    path: Path, tokenizer: PreTrainedTokenizerBase, most: int
) -> tuple[dict[int, Encoded], list[Finding]]:
    """The usable rows by their lines, and what is wrong with the others."""
    rows: dict[int, Encoded] = {}
    findings: list[Finding] = []
    for row in training_rows(path):
        if isinstance(row, Finding):
            findings.append(row)
            continue
        try:
            encoded = encode(row, tokenizer)
        except RowError as error:
            findings.append(Finding(path, row.line, f"{error}: left out", "warning"))
            continue
        if len(encoded.ids) > most:
            long = f"{len(encoded.ids):,} tokens, more than max_tokens={most}: left out"
            findings.append(Finding(path, row.line, long, "warning"))
        else:
            rows[row.line] = encoded
    return rows, findings
