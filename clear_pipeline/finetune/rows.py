"""Reading training files, which every trainer does in the same way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from clear_pipeline.errors import UsageError
from clear_pipeline.finetune.base import Finding
from clear_pipeline.formats import RowError
from clear_pipeline.formats.base import Parsed
from clear_pipeline.formats.chat import CHAT
from clear_pipeline.formats.strict_json import parse
from clear_pipeline.schema import JSON, Message

MIN_ROWS: Final = 10
"""With fewer, platforms refuse a file, and a model of one's own would learn them by heart."""


@dataclass(frozen=True, slots=True)
class TrainingRow:
    """One usable line of a training file.

    Attributes:
        line: From 1.
        record: As it stands in the file.
        parsed: What it says.
    """

    line: int
    record: Mapping[str, JSON]
    parsed: Parsed

    @property
    def turns(self) -> tuple[Message, ...]:
        """All turns, the target last."""
        return (*self.parsed.messages, self.parsed.target)

    @property
    def learnt(self) -> tuple[bool, ...]:
        """Per turn, whether it is learnt: the last, or with weights the assistant's that count."""
        turns = self.turns
        if all(turn.weight is None for turn in turns):
            return tuple(index == len(turns) - 1 for index in range(len(turns)))
        return tuple(turn.role == "assistant" and turn.weight != 0 for turn in turns)


@dataclass(frozen=True, slots=True)
class TrainingRecord:
    """One line of a training file as it stands there.

    Attributes:
        line: From 1.
        record: Its JSON object.
    """

    line: int
    record: Mapping[str, JSON]


def training_records(path: Path) -> Iterator[TrainingRecord | Finding]:
    """Every line of a file that is not blank: its object, or why it holds none.

    Raises:
        UsageError: The file is not there or cannot be read.
    """
    try:
        with path.open("rb") as file:
            for line, text in enumerate(file, 1):
                if text.strip():
                    yield _record(path, line, text)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from error


def training_rows(path: Path) -> Iterator[TrainingRow | Finding]:
    """Every line of a file that is not blank: what it says, or why it cannot be used.

    Raises:
        UsageError: The file is not there or cannot be read.
    """
    for found in training_records(path):
        yield found if isinstance(found, Finding) else _row(path, found)


def _record(path: Path, line: int, text: bytes) -> TrainingRecord | Finding:
    try:
        record = parse(text.decode("utf-8-sig" if line == 1 else "utf-8"))
    except (UnicodeDecodeError, RowError) as error:
        return Finding(path, line, f"no JSON: {error}")
    if not isinstance(record, Mapping):
        return Finding(path, line, "no JSON object")
    return TrainingRecord(line, record)


def _row(path: Path, found: TrainingRecord) -> TrainingRow | Finding:
    try:
        return TrainingRow(found.line, found.record, CHAT.read(found.record))
    except RowError as error:
        return Finding(path, found.line, str(error))
