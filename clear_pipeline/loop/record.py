"""`loop.json`: what a loop was asked for, and what its finished rounds came to."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, Literal

from pydantic import Field

from clear_pipeline.durable import write_text_atomically
from clear_pipeline.evaluate.models.report import Figure, LeakReport, figure_of
from clear_pipeline.llm.settings import ModelSettings
from clear_pipeline.schema import JSON
from clear_pipeline.settings import Settings

RECORD: Final = "loop.json"


class Spent(Settings):
    """What was spent, at most, as far as bills are not known."""

    calls: int = 0
    tokens: int = 0
    usd: float = 0.0
    """US dollars, trainings included as far as their price is known."""


class Reference(Settings):
    """A model that rounds are compared with."""

    name: str
    """`base`: the model that is trained, as it is. `tuned`: that of the rows that the first filter
    keeps."""
    model: ModelSettings
    figures: tuple[Figure, ...]
    """Of its answers to the test rows."""


class RoundRecord(Settings):
    """A round that is over."""

    round: int
    """From 1."""
    rows: dict[str, int]
    """Rows of its run, by fate."""
    train_rows: int
    """Lines of its training file; validation rows and test rows are not among them."""
    writer: ModelSettings
    """Who wrote the candidates."""
    model: ModelSettings
    """Who was trained on the curated rows."""
    training: dict[str, str | int | float | None]
    """Figures of that training, by their names."""
    figures: tuple[Figure, ...]
    """Of its model's answers to the test rows."""
    compared_with: str
    """The model of the round before: `base`, `tuned` or `round-N`."""
    gains: tuple[Figure, ...]
    """Minus that one's, on the same rows; empty where both are one model."""
    leaks: tuple[LeakReport, ...] = ()
    """Test rows in the training file, where there are some."""
    spent: Spent
    """In this round."""


class LoopRecord(Settings):
    """A loop as far as it has come."""

    schema_version: Literal[1] = 1
    package_version: str
    metric: str
    """What gains are held against; the figures are of all."""
    asked: dict[str, Any]
    """What decides its results; a directory belongs to one such loop."""
    test: str = ""
    """The file of test rows, as it was named."""
    test_rows: int = 0
    references: tuple[Reference, ...] = ()
    rounds: tuple[RoundRecord, ...] = Field(default=())
    ended: str | None = None
    """Why no further round was begun; None while it goes on."""

    @property
    def spent(self) -> Spent:
        """In all rounds."""
        each = [done.spent for done in self.rounds]
        return Spent(
            calls=sum(one.calls for one in each),
            tokens=sum(one.tokens for one in each),
            usd=sum(one.usd for one in each),
        )

    @property
    def best(self) -> RoundRecord | None:
        """The round whose model does best on the test rows, the first of equals."""
        means = {done.round: figure_of(done.figures, self.metric) for done in self.rounds}
        measured = [d for d in self.rounds if (m := means[d.round]) is not None and m.value]
        return max(measured, key=lambda done: _mean(means[done.round]), default=None)

    def changed(self, asked: dict[str, JSON]) -> list[str]:
        """In what another loop differs, by name."""
        names = dict.fromkeys([*self.asked, *asked])
        return [name for name in names if self.asked.get(name) != asked.get(name)]

    def write(self, directory: Path) -> None:
        """Enter it; on return it survives a power cut."""
        write_text_atomically(directory / RECORD, self.model_dump_json(indent=1) + "\n")


def _mean(figure: Figure | None) -> float:
    return 0.0 if figure is None or figure.value is None else figure.value.value


def read_loop(directory: Path) -> LoopRecord | None:
    """That of the loop which a directory holds; None if it holds none.

    Raises:
        DamagedRunError: The file is not as it was written.
    """
    return LoopRecord.from_file(directory / RECORD)
