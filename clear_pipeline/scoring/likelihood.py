"""How likely the model finds the given response, after the request and on its own."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias, assert_never

from clear_pipeline.errors import TRANSIENT_KINDS, CallError, RunFailedError, UsageError
from clear_pipeline.llm.base import ChatModel
from clear_pipeline.llm.pending import Independent
from clear_pipeline.schema import Example, Message, Role
from clear_pipeline.scoring.forced import force

Form: TypeAlias = Literal["gain_per_token", "gain", "given_per_token", "given"]
"""What counts: what the request adds, or how likely the response is after it; per token, or as a
sum, which longer responses have more of."""

ALONE = (Message(role=Role.USER, content=""),)
"""The request behind log p(y): one that says nothing."""

_STEEPEST = 500.0
"""Where the logistic function is 0 or 1 in a double, short of overflow."""


@dataclass(frozen=True, slots=True)
class Likelihood:
    """Log-probabilities of a response, or of its first tokens; natural logarithms, <= 0.

    Attributes:
        given_prompt: log p(y | x), summed over the tokens.
        alone: log p(y), summed over the tokens; None where the form needs none.
        tokens: How many tokens were scored, >= 1.
        cut: True if the response goes on after them.
        form: What `score` is made of.
    """

    given_prompt: float
    alone: float | None
    tokens: int
    cut: bool
    form: Form = "gain_per_token"

    @property
    def score(self) -> float:
        """In [0, 1], higher is likelier; strictly increasing in what the form counts.

        With g = log p(y | x) - log p(y) and n tokens:

        - `gain_per_token`: 1 / (1 + exp(-g / n)). 0.5 where the request says nothing about the
          response, above it where the response is more likely after the request.
        - `gain`: (1 + g / (1 + |g|)) / 2, likewise 0.5 at 0. A logistic function would be 1 for
          every sum above 37.
        - `given_per_token`: exp(log p(y | x) / n), the geometric mean of the tokens'
          probabilities, 1 / perplexity.
        - `given`: 1 / (1 - log p(y | x)), since the probability itself is 0 in a double for long
          responses.
        """
        gain = self.given_prompt - (self.alone or 0.0)
        match self.form:
            case "gain_per_token":
                each = gain / self.tokens
                return 1 / (1 + math.exp(-max(-_STEEPEST, min(_STEEPEST, each))))
            case "gain":
                return (1 + gain / (1 + abs(gain))) / 2
            case "given_per_token":
                return math.exp(self.given_prompt / self.tokens)
            case "given":
                return 1 / (1 - self.given_prompt)
            case _:  # pragma: no cover -- there is no other form
                assert_never(self.form)


async def scores_text(model: ChatModel) -> bool:
    """Whether the endpoint can score a given text; found out by asking once, unless it is known.

    Raises:
        RunFailedError: An outage or a limit left it open.
    """
    able = model.capabilities.grammar or model.capabilities.prompt_logprobs
    if able is None:
        try:
            await force(model, ALONE, "Yes", max_tokens=1)
        except CallError as error:
            if error.kind in TRANSIENT_KINDS:
                raise RunFailedError(
                    f"{str(error).rstrip('.')}. {model.identity} has answered nothing: no row has "
                    "been asked about yet, and the same command asks again"
                ) from error
            return error.kind not in {"bad_request", "bad_reply"}
        return True
    return able


async def require_likelihood(model: ChatModel) -> None:
    """Make sure that the endpoint `scores_text`.

    Raises:
        UsageError: It does not.
        RunFailedError: An outage or a limit left it open.
    """
    if not await scores_text(model):
        raise UsageError(
            "preset likelihood needs an endpoint that scores a given text: a llama.cpp (grammars), "
            f"a vLLM (prompt_logprobs) or the embedded model; {model.identity} does not. "
            "Use --preset fast."
        )


async def likelihood(
    model: ChatModel, example: Example, *, max_tokens: int, form: Form = "gain_per_token"
) -> Likelihood:
    """Score the row's response after the request and, for a gain, after nothing.

    Args:
        model: An endpoint that `scores_text`.
        example: The row; its conversation is sent as it is, since this is what is scored.
        max_tokens: The first so many tokens of the response are scored.
        form: What the score is made of.

    Raises:
        CallError: A call failed, or the server scored another text.
    """
    alone = None
    with Independent() as independent:
        with independent.part():
            given = await force(model, example.messages, example.response, max_tokens=max_tokens)
        if form in {"gain_per_token", "gain"}:
            with independent.part():
                alone = (await force(model, ALONE, example.response, max_tokens=max_tokens)).logprob
    return Likelihood(given.logprob, alone, given.tokens, given.cut, form)
