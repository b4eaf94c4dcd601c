"""What a trainer is: a frozen settings model that turns training files into a model that answers.

A trainer says what is wrong with the files and what the training costs before anything is trained,
uploaded or paid; then it trains, and names the model that came out as any config would name it. All
that it remembers between two calls lies in the folder that it is given.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, TypeAlias, runtime_checkable

from pydantic import Field

from clear_pipeline.finetune.balance import Replay
from clear_pipeline.finetune.general import GeneralCheck
from clear_pipeline.llm.settings import ModelSettings
from clear_pipeline.schema import JSON
from clear_pipeline.settings import Settings
from clear_pipeline.stages.base import Progress


@dataclass(frozen=True, slots=True)
class TrainingData:
    """The files to train on: OpenAI chat rows as JSONL, as `export --format openai` writes them.

    A turn with `weight: 0` is not learnt. Without weights only the last turn is.

    Attributes:
        train: Rows to learn from.
        valid: Rows that are never learnt from, to measure on; None where there are none.
        general: Rows of another kind that are never learnt from; the model is measured on them
            before and after the training. None where there are none.
        mix: What general rows there are among those of `train`, at its end; None = none.
    """

    train: Path
    valid: Path | None = None
    general: Path | None = None
    mix: Replay | None = None


@dataclass(frozen=True, slots=True)
class TrainingContext:
    """Where a trainer works and reports.

    Attributes:
        folder: For its state and its results; it exists when `train` is called. What lies there
            was left by the same settings on the same data, so that a killed training goes on.
        progress: Where to report.
    """

    folder: Path
    progress: Progress


Standing: TypeAlias = Literal["fresh", "left", "lost", "begun"]
"""What lies in the folder of a training. `fresh`: nothing was trained, uploaded or created there.
`left`: something was, and whatever of it may be billed is found again: to go on costs its price
once. `lost`: it came to nothing and may have been billed; to go on is another beginning, at a price
of its own. `begun`: what was agreed to goes on or is over, and costs nothing more."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong with a file.

    Attributes:
        file: Which.
        row: Its line, from 1; None = the file as a whole.
        reason: What was found, and where the file is at fault as a whole what to do.
        severity: An `error` stops before anything is paid, uploaded or trained.
    """

    file: Path
    row: int | None
    reason: str
    severity: Literal["error", "warning"] = "error"

    def __str__(self) -> str:
        """Place and reason in one line."""
        place = self.file.name if self.row is None else f"{self.file.name}:{self.row}"
        return f"{place}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Price:
    """What a training costs, as far as it is known before it starts.

    Attributes:
        usd: US dollars; 0 on machines of one's own, None where the price is not known.
        tokens: Trained tokens, over all epochs; None where nobody counted.
        basis: Where both come from, in words that can stand after "by".
    """

    usd: float | None
    tokens: int | None
    basis: str


class Point(Settings):
    """One point of a training curve. What was not measured at this step is None.

    Losses are means of -log p over the learnt tokens, in nats.
    """

    step: int
    """Updates of the weights so far, from 1; 0 = before the first."""
    train_loss: float | None = None
    """Of the rows of this step, before its update."""
    valid_loss: float | None = None
    """Of all validation rows, after this step."""
    learning_rate: float | None = None
    """Of this step."""
    general_loss: float | None = None
    """Of all general rows, after this step."""


class Trained(Settings):
    """What came out of a training; it can be written to a file and read back."""

    model: ModelSettings
    """How the model is asked: what stands under `models` of a config to use it."""
    curve: tuple[Point, ...] = ()
    """In the order of steps."""
    summary: dict[str, str | int | float | None] = Field(default_factory=dict)
    """Figures for people, by their names: rows, tokens, best loss, why it ended."""
    general: GeneralCheck | None = None
    """What became of general rows; None where nobody measured it."""


@runtime_checkable
class Trainer(Protocol):
    """A way to train. Implement as a `Settings` subclass with a field `kind` and these members.

    Its settings are its part of the fingerprint by which a folder is recognised; where one names
    something outside, such as a file of weights, `identity` gives the content.
    """

    name: ClassVar[str]
    """Its `kind`, which `--trainer` takes."""
    version: ClassVar[int]
    """Bumped whenever equal settings and data may give another model."""

    def identity(self) -> dict[str, JSON]:
        """As `Settings.identity`."""
        ...

    def base_model(self) -> ModelSettings | None:
        """How the model that is trained is asked, as it is; nothing leaves the machine.

        Returns:
            None where it may not be on this machine, and no server has it.

        Raises:
            UsageError: As `preflight`, as far as no file is needed to see it.
            MissingExtraError: A library is not installed.
        """
        ...

    def preflight(self, data: TrainingData, ctx: TrainingContext) -> tuple[Finding, ...]:
        """What is wrong with the files, in their order; nothing leaves the machine.

        Raises:
            UsageError: The trainer cannot work here at all: no key, a model that is not there.
            MissingExtraError: A library is not installed.
        """
        ...

    def standing(self, ctx: TrainingContext) -> Standing:
        """What an earlier call of `train` left in the folder; it need not exist."""
        ...

    def price(self, data: TrainingData) -> Price:
        """What `train` will cost, unless it has begun; nothing leaves the machine."""
        ...

    async def train(self, data: TrainingData, ctx: TrainingContext) -> Trained:
        """Train, or go on where an earlier call with the same folder was stopped.

        It may compute for long without a pause; its caller gives it a loop of its own. What it
        leaves in the folder is written so that a kill at any time loses little and breaks nothing.

        Raises:
            RunFailedError: It cannot go on; the same call may go on later.
            BatchPendingError: Others compute; the same call asks again whether they are done.
        """
        ...


class Measured(Settings):
    """A training that was measured, and whose model nobody keeps; it can be written to a file."""

    curve: tuple[Point, ...]
    """In the order of steps; at least one after the first step has a validation loss."""
    ended: str = ""
    """Why, in words."""

    @property
    def measurements(self) -> tuple[tuple[int, float], ...]:
        """Steps and validation losses, those of the untrained model left out."""
        known = [(p.step, p.valid_loss) for p in self.curve if p.step]
        return tuple((step, loss) for step, loss in known if loss is not None)

    @property
    def best(self) -> tuple[int, float]:
        """The first step with the lowest validation loss, and that loss."""
        return min(self.measurements, key=lambda each: each[1])

    @property
    def last(self) -> tuple[int, float]:
        """The step that was measured last, and its validation loss."""
        return self.measurements[-1]


@runtime_checkable
class SearchableTrainer(Trainer, Protocol):
    """A trainer whose trainings cost nothing but time, so that a search may try many settings."""

    unsearchable: ClassVar[Mapping[str, str]]
    """Settings that no search may vary, and why."""

    def space(self) -> Mapping[str, JSON]:
        """What a search varies unless it is told, as a config would have it under `space`."""
        ...

    def in_effect(self) -> Mapping[str, Any]:
        """The settings, and for those that say "as usual" what that is."""
        ...

    async def measure(
        self, data: TrainingData, ctx: TrainingContext, *, early_stop: bool
    ) -> Measured:
        """As `train`, on files with validation rows, but no model is written.

        Args:
            data: With validation rows.
            ctx: Where; a measurement that was cut short there goes on.
            early_stop: As the settings say; False = all epochs, whatever the losses.

        Raises:
            UsageError: No row can be measured on, or the settings do not fit the model.
            UntrainableError: These settings come to no model.
        """
        ...


@runtime_checkable
class CancellableTrainer(Trainer, Protocol):
    """A trainer whose training goes on elsewhere when this process ends."""

    async def cancel(self, ctx: TrainingContext) -> str:
        """End the training of a folder, begun by these settings; what became of it, in a line.

        Raises:
            RunFailedError: Those who train cannot be asked now.
        """
        ...
