"""What a probe will ask for, roughly, told before anything is paid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from clear_pipeline.llm.base import Usage
from clear_pipeline.llm.pricing import cost
from clear_pipeline.llm.settings import Prices
from clear_pipeline.probe.plan import Plan
from clear_pipeline.prompts.views import views
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
    found = [_of_row(score, row) for score in scores for row in rows]
    calls, prompt, completion = (sum(counts) for counts in zip(*found, strict=True))
    return Forecast(calls=calls, prompt_tokens=prompt, completion_tokens=completion)


def _of_row(score: Score, row: Example) -> tuple[int, int, int]:
    """Calls, prompt tokens and completion tokens."""
    draws = 0 if score.k == 0 else 1 + (2 * score.k if score.similarity == "llm" else 0)
    seen = list(views(row).values()) if score.in_parts else [row]
    questions = len(score.reflection) * score.orders
    texts = _texts_scored(score)
    once = draws + texts
    calls = questions * len(seen) + once
    prompt = questions * sum(map(_tokens, seen)) + once * _tokens(row)
    completion = (
        (calls - texts) * VERDICT_TOKENS * score.text_samples
        + score.k * score.max_answer_tokens
        + texts * score.likelihood_tokens
    )
    return calls, prompt, completion


def _texts_scored(score: Score) -> int:
    """How often the response is scored as a text: after the request and, for a gain, alone."""
    if not score.wants_likelihood:
        return 0
    return 1 if score.likelihood.startswith("given") else 2


def _tokens(row: Example) -> int:
    chars = sum(len(turn.text) for turn in row.messages) + len(row.response) + len(row.tools or "")
    return QUESTION_TOKENS + int(chars / CHARS_PER_TOKEN)
