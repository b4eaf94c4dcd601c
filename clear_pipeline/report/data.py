"""What a report shows, as plain values: drawn by `html` and `plots`, taken from a run by `adapter`.

Nothing here reads a file, so a report can be made and tested without a run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from clear_pipeline.report.calibration import CalibrationShown
from clear_pipeline.report.histogram import Histogram
from clear_pipeline.report.words import EXPORTED, FATES
from clear_pipeline.schema import Fate


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the funnel.

    Attributes:
        label: What was done.
        fate: The fate of the rows that left here; None where none could.
        left: Rows that left at this step.
        remaining: Rows after it.
    """

    label: str
    fate: Fate | None
    left: int
    remaining: int


_STEPS = {
    Fate.QUARANTINED: "Readable",
    Fate.CONTAMINATED: "Not in a test set",
    Fate.DUPLICATE: "Unique",
    Fate.UNSCORED: "Scored",
    Fate.FILTERED: "In the training set",
}


def funnel(fates: Mapping[Fate, int]) -> tuple[Step, ...]:
    """From the input rows down to the training set, one step for each fate that took rows away.

    Args:
        fates: Rows by fate; they sum to the input rows.
    """
    remaining = sum(fates.values())
    steps = [Step("Input rows", None, 0, remaining)]
    for fate, label in _STEPS.items():
        left = fates.get(fate, 0)
        remaining -= left
        if left or fate is Fate.FILTERED:
            steps.append(Step(label, fate, left, remaining))
    return tuple(steps)


@dataclass(frozen=True, slots=True)
class Part:
    """How one part of the confidence is distributed; `name` is its ledger column."""

    name: str
    histogram: Histogram
    mean: float


@dataclass(frozen=True, slots=True)
class Reason:
    """A kind of reason: how many rows have it, and one of them."""

    fate: Fate
    kind: str
    rows: int
    example: str


@dataclass(frozen=True, slots=True)
class InputFile:
    """One input file and what became of its rows; `problems` are what load has to say on it."""

    path: str
    format: str
    fates: Mapping[Fate, int]
    problems: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        """Rows read from it, unreadable ones included."""
        return sum(self.fates.values())


@dataclass(frozen=True, slots=True)
class ShownRow:
    """A removed or rectified row with its texts.

    Attributes:
        id: Row id.
        fate: Its fate.
        reason: Why, in one sentence.
        confidence: In [0, 1], or None where there is none.
        parts: Ledger column -> value, for the scores that it has.
        prompt: What was asked; "" for a quarantined row.
        response: What the dataset answers; the raw text of a quarantined row.
        candidate: What a model would answer instead, if it was asked; it stands in the training
            set where the row was rectified.
        diff: What a rectified row's new response changed, as a unified diff.
        keeper: Id of the row that stands for a duplicate.
        keeper_response: What that row answers.
    """

    id: str
    fate: Fate
    reason: str
    confidence: float | None
    parts: Mapping[str, float]
    prompt: str
    response: str
    candidate: str | None = None
    diff: str | None = None
    keeper: str | None = None
    keeper_response: str | None = None


@dataclass(frozen=True, slots=True)
class StageSettings:
    """A stage of the chain with its settings as YAML."""

    kind: str
    settings: str


@dataclass(frozen=True, slots=True)
class ModelUse:
    """Who served a role and what it did; `usage` maps a label to a number ready to print."""

    role: str
    model: str
    endpoint: str
    usage: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class PartTokens:
    """What one part of the score took, over all rows for which the model was asked.

    Attributes:
        part: As the ledger names it.
        rows: Rows for which it was asked, >= 1.
        prompt: Prompt tokens.
        cached: Of these, read from the server's cache.
        completion: Generated tokens.
    """

    part: str
    rows: int
    prompt: int
    cached: int
    completion: int

    @property
    def cells(self) -> tuple[str, ...]:
        """Rows, the three totals, and the three per row, ready to print."""
        totals = (self.prompt, self.cached, self.completion)
        each = (f"{tokens / self.rows:,.1f}" for tokens in totals)
        return (f"{self.rows:,}", *(f"{tokens:,}" for tokens in totals), *each)

    def __add__(self, other: PartTokens) -> PartTokens:
        """Of the rows of both, for the same part."""
        return PartTokens(
            self.part,
            self.rows + other.rows,
            self.prompt + other.prompt,
            self.cached + other.cached,
            self.completion + other.completion,
        )


TOKEN_HEADS = ("part", "rows", "prompt", "cached", "completion", "prompt/row", "cached/row",
               "completion/row")  # fmt: skip
"""Headings of a table of `PartTokens`: the part, then its cells."""


@dataclass(frozen=True, slots=True)
class ReportData:
    """Everything that a report shows.

    Attributes:
        title: The dataset's name.
        version: Of the package that wrote the run.
        fates: Rows by fate, all fates, in order.
        rows: At most 2,000 removed and rectified rows; `funnel` has the true counts.
        removed: How many removed and rectified rows there are in truth.
        confidences: Distribution of what the filter goes by, None without a score.
        compared: Its ledger column: `confidence`, or `p_good_low` with a precision.
        threshold: Of the filter on that scale, None without one.
        calibration: What the run's calibration is worth, None without one.
        parts: Distributions of the confidence's parts.
        reasons: Kinds of reasons, most rows first.
        files: Input files, in input order.
        skipped: (path, reason) of files that are no data.
        stages: The chain.
        models: By role.
        spend: What was spent, in words; "" where nothing was asked.
        tokens: What each part of the score took.
        notes: What the stages had to say: warnings, decisions.
        commands: (what for, command line) to go on with.
    """

    title: str
    version: str
    fates: Mapping[Fate, int]
    rows: tuple[ShownRow, ...] = ()
    removed: int = 0
    confidences: Histogram | None = None
    compared: str = "confidence"
    threshold: float | None = None
    calibration: CalibrationShown | None = None
    parts: tuple[Part, ...] = ()
    reasons: tuple[Reason, ...] = ()
    files: tuple[InputFile, ...] = ()
    skipped: tuple[tuple[str, str], ...] = ()
    stages: tuple[StageSettings, ...] = ()
    models: tuple[ModelUse, ...] = ()
    spend: str = ""
    tokens: tuple[PartTokens, ...] = ()
    notes: tuple[str, ...] = ()
    commands: tuple[tuple[str, str], ...] = field(default=())

    @property
    def total(self) -> int:
        """Input rows."""
        return sum(self.fates.values())

    @property
    def exported(self) -> int:
        """Rows that are kept or rectified."""
        return sum(self.fates.get(fate, 0) for fate in EXPORTED)


def fair_shares(counts: Mapping[Fate, int], limit: int) -> dict[Fate, int]:
    """Share `limit` places among fates so that a rare fate is not crowded out by a common one.

    Every fate gets the same number of places; what one does not need goes to the others.
    """
    shares: dict[Fate, int] = {}
    by_size = sorted(counts, key=lambda fate: (counts[fate], list(FATES).index(fate)))
    for position, fate in enumerate(by_size):
        shares[fate] = min(counts[fate], limit // (len(by_size) - position))
        limit -= shares[fate]
    return shares
