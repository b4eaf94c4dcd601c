"""`asked.json`: which arms, and which judges, a directory's answers are of, over all evaluations.

Answers are kept by the model's name. A server that was started anew with other weights under the
old name would be given the old answers: told here, since nothing else could tell.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, ValidationError

from clear_pipeline.durable import write_text_atomically
from clear_pipeline.errors import DamagedRunError, UsageError
from clear_pipeline.evaluate.models.arms import JUDGE, Arm, EvaluationSettings, JudgeSettings

ASKED: Final = "asked.json"


class _Asked(BaseModel):
    """One arm, or the judge, as it was asked."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    arm: str
    asks: tuple[str, ...]
    url: str


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    arms: tuple[_Asked, ...] = ()


def require_own_answers(directory: Path, settings: EvaluationSettings) -> tuple[str, ...]:
    """Compare arms and judge with those whose answers lie in the directory.

    Returns:
        What to tell: those whose answers were got at another address.

    Raises:
        UsageError: An arm would be given the answers of an arm of another name.
        DamagedRunError: The record cannot be read.
    """
    before = _read(directory / ASKED)
    asked: list[Arm | JudgeSettings] = [*settings.arms]
    if settings.judge is not None:
        asked.append(settings.judge)
    return tuple(note for each in asked for note in _compared(_entry(each), before, directory))


def enter(directory: Path, asked: Arm | JudgeSettings) -> None:
    """Enter one whose model is there, before its first question."""
    path, entry = directory / ASKED, _entry(asked)
    others = [old for old in _read(path).arms if (old.arm, old.asks) != (entry.arm, entry.asks)]
    record = _Record(arms=(*others, entry))
    write_text_atomically(path, record.model_dump_json(indent=1) + "\n")


def _entry(asked: Arm | JudgeSettings) -> _Asked:
    name = asked.name if isinstance(asked, Arm) else JUDGE
    return _Asked(arm=name, asks=asked.asks(), url=asked.model.url)


def _compared(arm: _Asked, before: _Record, directory: Path) -> Iterator[str]:
    same = [old for old in before.arms if old.asks == arm.asks]
    own = [old for old in same if old.arm == arm.arm]
    if same and not own:
        raise UsageError(
            f"{arm.arm}: would be given the answers of {same[0].arm}, which asked the same of a "
            f"model of that name and are kept in {directory}. If another model answers now, set "
            "`revision` of the arm to a word of its own in the file of --arms; if it is the same "
            "arm by another name, give another --out"
        )
    for old in own:
        if old.url != arm.url:
            yield (
                f"{arm.arm}: answers that were got at {old.url} are kept and not asked for at "
                f"{arm.url}; if another model answers there, set its `revision`"
            )


def _read(path: Path) -> _Record:
    try:
        return _Record.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return _Record()
    except ValidationError as error:
        raise DamagedRunError(
            f"{path}: cannot be read; give another --out, or delete the file if every model that "
            "answered here still has its name"
        ) from error
