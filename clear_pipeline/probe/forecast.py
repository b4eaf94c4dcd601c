"""What a probe will ask for, roughly, told before anything is paid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from clear_pipeline.llm.base import Usage
from clear_pipeline.llm.pricing import cost
from clear_pipeline.llm.settings import Prices
from clear_pipeline.probe.plan import Plan
from clear_pipeline.schema import Example
from clear_pipeline.stages.score import Score

CHARS_PER_TOKEN: Final = 3.5
"""Rather low for English, so that the forecast is rather high."""
QUESTION_TOKENS: Final = 150
"""Our words around a row, and the question."""
VERDICT_TOKENS: Final = 16
"""Of a verdict that is written out."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """Rather high guesses over all presets; a model that must be asked in words takes more."""

    calls: int
    prompt_tokens: int
    completion_tokens: int

    def usd(self, prices: Prices) -> float:
        """The price of that, in US dollars."""
        return cost(Usage(prompt=self.prompt_tokens, completion=self.completion_tokens), prices)

    def words(self, prices: Prices | None) -> str:
        """In one sentence."""
        return (
            f"about {self.calls:,} calls, {self.prompt_tokens:,} prompt and "
            f"{self.completion_tokens:,} completion tokens, {self._price(prices)}"
        )

    def _price(self, prices: Prices | None) -> str:
        if prices is None:
            return "at a price that is not known"
        usd = self.usd(prices)
        return f"about ${usd:.2f}" if usd else "free of charge"


def forecast(plan: Plan, scores: Sequence[Score]) -> Forecast:
    """Calls and tokens if no answer is in the cache yet."""
    rows = [*plan.originals, *(planted.example for planted in plan.planted)]
    per_row = sum(_tokens(row) for row in rows)
    calls = [_calls_per_row(score) for score in scores]
    return Forecast(
        calls=sum(calls) * len(rows),
        prompt_tokens=sum(calls) * per_row,
        completion_tokens=len(rows)
        * sum(
            each * VERDICT_TOKENS * score.text_samples
            + score.k * score.max_answer_tokens
            + _texts_scored(score) * score.likelihood_tokens
            for each, score in zip(calls, scores, strict=True)
        ),
    )


def _calls_per_row(score: Score) -> int:
    draws = 0 if score.k == 0 else 1 + (2 * score.k if score.similarity == "llm" else 0)
    return len(score.reflection) * score.orders + draws + _texts_scored(score)


def _texts_scored(score: Score) -> int:
    """How often the response is scored as a text: after the request and, for a gain, alone."""
    if not score.wants_likelihood:
        return 0
    return 1 if score.likelihood.startswith("given") else 2


def _tokens(row: Example) -> int:
    chars = sum(len(turn.text) for turn in row.messages) + len(row.response) + len(row.tools or "")
    return QUESTION_TOKENS + int(chars / CHARS_PER_TOKEN)
