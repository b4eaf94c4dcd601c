"""The figures of an estimate: what each stage will ask of each model, from low to high."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from clear_pipeline.llm.base import Usage
from clear_pipeline.llm.meter import Amount
from clear_pipeline.llm.pricing import cost
from clear_pipeline.llm.settings import Prices


@dataclass(frozen=True, slots=True)
class Span:
    """From `low` to `high`, both >= 0."""

    low: float = 0.0
    high: float = 0.0

    def __add__(self, other: Span) -> Span:
        return Span(self.low + other.low, self.high + other.high)

    def __mul__(self, factor: float) -> Span:
        return Span(self.low * factor, self.high * factor)

    @property
    def middle(self) -> float:
        """Halfway."""
        return (self.low + self.high) / 2

    @property
    def rounded(self) -> tuple[int, int]:
        """Both ends as whole numbers."""
        return round(self.low), round(self.high)


@dataclass(frozen=True, slots=True)
class Need:
    """What is asked: calls, and tokens as `llm.base.Usage` counts them.

    `cached` runs from nothing to all that a server could have kept of a row's earlier prompts.
    """

    calls: Span = field(default_factory=Span)
    prompt: Span = field(default_factory=Span)
    cached: Span = field(default_factory=Span)
    completion: Span = field(default_factory=Span)

    def __add__(self, other: Need) -> Need:
        return Need(
            self.calls + other.calls,
            self.prompt + other.prompt,
            self.cached + other.cached,
            self.completion + other.completion,
        )

    def __mul__(self, factor: float) -> Need:
        return Need(
            self.calls * factor,
            self.prompt * factor,
            self.cached * factor,
            self.completion * factor,
        )

    @property
    def total(self) -> Span:
        """Tokens of prompts and completions."""
        return self.prompt + self.completion

    def usd(self, prices: Prices, *, batch: bool = False) -> Span:
        """In dollars: the least with all that could be cached, the most without.

        Args:
            prices: Dollars per million tokens.
            batch: Whether batch jobs do the work.
        """
        least, most = (
            Usage(prompt=prompt, cached=cached, completion=completion)
            for prompt, cached, completion in (
                (round(self.prompt.low), round(self.cached.high), round(self.completion.low)),
                (round(self.prompt.high), round(self.cached.low), round(self.completion.high)),
            )
        )
        least = Usage(least.prompt, min(least.cached, least.prompt), least.completion)
        low, high = sorted(cost(usage, prices, batch=batch) for usage in (least, most))
        return Span(low, high)


@dataclass(frozen=True, slots=True)
class StageEstimate:
    """One stage and one model.

    Attributes:
        stage: Its name.
        model: Name of the model that it asks.
        rows: Rows that it asks about, roughly.
        need: What it asks.
        prices: Of the model; None where they are not known.
        batch: Whether batch jobs ask.
    """

    stage: str
    model: str
    rows: int
    need: Need
    prices: Prices | None
    batch: bool = False

    @property
    def usd(self) -> Span | None:
        """In dollars; None where the price is not known."""
        return None if self.prices is None else self.need.usd(self.prices, batch=self.batch)

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        usd = self.usd
        return {
            "stage": self.stage,
            "model": self.model,
            "rows": self.rows,
            **_need_json(self.need),
            "usd": None if usd is None else [usd.low, usd.high],
        }


@dataclass(frozen=True, slots=True)
class ModelNote:
    """How a model's figures came about.

    Attributes:
        model: Its name.
        counted: Who counted its tokens, see `TokenCounter.how`.
        learnt_from: Answered calls that the figures were corrected by; 0 = none.
        price: Where its prices come from, see `price_source`.
    """

    model: str
    counted: str
    learnt_from: int
    price: str


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a run will ask for.

    Attributes:
        rows: Rows that may still reach the export, duplicates left out.
        sampled: Rows that it was rehearsed on.
        stages: Those that ask a model, in order.
        models: How the figures came about.
        minutes: At the pace of a pilot, which a model without a price is asked; None where there
            was none, or nothing came of it in time.
        spent: What the run had spent by then; nothing for one that has not begun.
    """

    rows: int
    sampled: int
    stages: tuple[StageEstimate, ...]
    models: tuple[ModelNote, ...]
    minutes: float | None = None
    spent: Amount = field(default_factory=Amount)

    @property
    def need(self) -> Need:
        """Of all stages."""
        return sum((stage.need for stage in self.stages), Need())

    @property
    def usd(self) -> Span | None:
        """Of all stages; None where a price is not known."""
        found = [stage.usd for stage in self.stages]
        known = [usd for usd in found if usd is not None]
        return sum(known, Span()) if len(known) == len(found) else None

    def to_json(self) -> dict[str, Any]:
        """As plain values; spans are pairs of low and high."""
        usd = self.usd
        return {
            "rows": self.rows,
            "sampled": self.sampled,
            "stages": [stage.to_json() for stage in self.stages],
            "total": {**_need_json(self.need), "usd": None if usd is None else [usd.low, usd.high]},
            "minutes": self.minutes,
            "models": [
                {
                    "model": note.model,
                    "counted": note.counted,
                    "learnt_from": note.learnt_from,
                    "price": note.price,
                }
                for note in self.models
            ],
        }


NOTHING: Final = Estimate(rows=0, sampled=0, stages=(), models=())
"""Of what asks no model, or has asked all."""


def _need_json(need: Need) -> dict[str, list[int]]:
    return {
        "calls": list(need.calls.rounded),
        "prompt_tokens": list(need.prompt.rounded),
        "cached_tokens": list(need.cached.rounded),
        "completion_tokens": list(need.completion.rounded),
    }
