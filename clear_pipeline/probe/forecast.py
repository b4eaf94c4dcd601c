"""What a probe will ask for, told before anything is paid."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from clear_pipeline.llm.base import Capabilities, Usage
from clear_pipeline.llm.pricing import cost
from clear_pipeline.llm.settings import Prices
from clear_pipeline.probe.plan import Plan
from clear_pipeline.prompts.answer import draws_request
from clear_pipeline.prompts.forced import length_request, scored_request
from clear_pipeline.prompts.reflection import WORDINGS, reflection_orders
from clear_pipeline.prompts.views import views
from clear_pipeline.schema import Example, Message
from clear_pipeline.scoring.choice import REPLY_TOKENS
from clear_pipeline.scoring.likelihood import ALONE
from clear_pipeline.scoring.passages import passages
from clear_pipeline.stages.score import Score

BYTES_PER_TOKEN: Final = 3.5
"""Rather low for English, so that the forecast is rather high."""
TURN_TOKENS: Final = 8
"""What a chat template writes around a turn."""
TEMPLATE_TOKENS: Final = 32
"""What it writes besides, such as a system prompt of its own."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """What all presets will ask for, if no answer is in the cache yet.

    Calls are exact where the first token of a verdict tells and nothing is drawn. A model that must
    be asked again in words takes more; draws that say what the response says take fewer. Tokens are
    rather high guesses.
    """

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


def forecasts(plan: Plan, scores: Sequence[Score], known: Capabilities) -> tuple[Forecast, ...]:
    """What to expect of an endpoint of which so much is known.

    Returns:
        One forecast; or two, where a preset wants the likelihood and only asking will tell whether
        the endpoint scores a given text: if it does, and if it does not.
    """
    able = known.grammar or known.prompt_logprobs
    if able is not None or not any(score.wants_likelihood for score in scores):
        return (_forecast(plan, scores, known, scores_text=bool(able)),)
    return tuple(_forecast(plan, scores, known, scores_text=text) for text in (True, False))


def _forecast(
    plan: Plan, scores: Sequence[Score], known: Capabilities, *, scores_text: bool
) -> Forecast:
    asked: dict[Hashable, Forecast] = {}  # equal questions are sent once, see `llm.cache`
    for score in scores:
        if score.wants_likelihood and not known.grammar and known.prompt_logprobs is None:
            asked.update(_scored(ALONE, "Yes"))
        for row in (*plan.originals, *(planted.example for planted in plan.planted)):
            asked.update(_questions(score, row))
            asked.update(_draws(score, row, known))
            if score.wants_likelihood and scores_text:
                asked.update(_likelihood(score, row, known))
    return Forecast(
        calls=sum(each.calls for each in asked.values()),
        prompt_tokens=sum(each.prompt_tokens for each in asked.values()),
        completion_tokens=sum(each.completion_tokens for each in asked.values()),
    )


_Asked: TypeAlias = Iterator[tuple[Hashable, Forecast]]
"""What tells a question from others, and what it takes."""


def _questions(score: Score, row: Example) -> _Asked:
    """The verdicts on the response and its parts, read by their first token or in words."""
    for view in views(row).values() if score.in_parts else [row]:
        for wording in score.reflection:
            orders = reflection_orders(view, WORDINGS[wording], samples=score.orders)
            for messages, _ in orders:
                yield (messages, score.reflection_via), _verdict(score, messages)


def _draws(score: Score, row: Example, known: Capabilities) -> _Asked:
    """Draws, and as many comparisons as there would be if each said as much as the response."""
    if score.k == 0 or not score.draws_for(row):
        return
    request = draws_request(
        row,
        form=score.draw_form,
        samples=range(score.k),
        temperature=score.temperature,
        max_tokens=score.max_answer_tokens,
    )
    calls = math.ceil(score.k / (known.slots or score.k))
    prompt = calls * (_tokens(request.messages) + _text_tokens(row.tools or ""))
    yield request, Forecast(calls, prompt, score.k * score.max_answer_tokens)
    if score.similarity == "llm":
        pairs = 2 * score.k * len(passages(row.response))
        each = _verdict(score, (*row.messages, row.target, row.target))
        yield (
            (score.preset, row.id),
            Forecast(pairs, pairs * each.prompt_tokens, pairs * each.completion_tokens),
        )


def _verdict(score: Score, messages: Sequence[Message]) -> Forecast:
    by_token = score.reflection_via == "logprobs"
    return Forecast(1, _tokens(messages), 1 if by_token else REPLY_TOKENS * score.text_samples)


def _likelihood(score: Score, row: Example, known: Capabilities) -> _Asked:
    """The response after the request and, for a gain, alone."""
    prompts = [row.messages] if score.likelihood.startswith("given") else [row.messages, ALONE]
    for messages in prompts:
        if not known.grammar:
            yield from _scored(messages, row.response)
            continue
        most = score.likelihood_tokens
        said = min(most, _text_tokens(row.response))
        yield (messages, row.response, most), Forecast(1, _tokens(messages), said)


def _scored(messages: tuple[Message, ...], text: str) -> _Asked:
    """How long the prompt is, and the log-probabilities of what follows it (vLLM)."""
    for request in (length_request(messages), scored_request(messages, text, start=0)):
        yield request, Forecast(1, _tokens(request.messages), 1)


def _tokens(messages: Sequence[Message]) -> int:
    return TEMPLATE_TOKENS + sum(TURN_TOKENS + _text_tokens(turn.text) for turn in messages)


def _text_tokens(text: str) -> int:
    return math.ceil(len(text.encode("utf-8", "surrogatepass")) / BYTES_PER_TOKEN)
