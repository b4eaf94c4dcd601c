"""How likely the model finds the given response, after the request and on its own."""

from __future__ import annotations

import math
from dataclasses import dataclass

from clear_pipeline.errors import UsageError
from clear_pipeline.llm.base import ChatModel
from clear_pipeline.schema import Example, Message, Role
from clear_pipeline.scoring.forced import force

ALONE = (Message(role=Role.USER, content=""),)
"""The request behind log p(y): one that says nothing."""

_STEEPEST = 500.0
"""Where the logistic function is 0 or 1 in a double, short of overflow."""


@dataclass(frozen=True, slots=True)
class Likelihood:
    """Log-probabilities of a response, or of its first tokens; natural logarithms, <= 0.

    Attributes:
        given_prompt: log p(y | x), summed over the tokens.
        alone: log p(y), summed over the tokens.
        tokens: How many tokens were scored, >= 1.
        cut: True if the response goes on after them.
    """

    given_prompt: float
    alone: float
    tokens: int
    cut: bool

    @property
    def score(self) -> float:
        """What the request adds per token, (log p(y | x) - log p(y)) / tokens, made logistic.

        In [0, 1]: 0.5 where the request says nothing about the response, above it where the
        response is more likely after the request than without it.
        """
        gain = (self.given_prompt - self.alone) / self.tokens
        return 1 / (1 + math.exp(-max(-_STEEPEST, min(_STEEPEST, gain))))


def require_grammar(model: ChatModel) -> None:
    """Raise UsageError if the endpoint cannot be made to say a given text."""
    if not model.capabilities.grammar:
        raise UsageError(
            "preset likelihood needs an endpoint that takes grammars (llama.cpp or the embedded "
            f"model); {model.identity} takes none. Use --preset fast."
        )


async def likelihood(model: ChatModel, example: Example, *, max_tokens: int) -> Likelihood:
    """Make the model say the row's response, twice: after the request, and after nothing.

    Args:
        model: An endpoint with grammars and log-probabilities.
        example: The row; its conversation is sent as it is, since this is what is scored.
        max_tokens: The first so many tokens of the response are scored.

    Raises:
        CallError: A call failed, or the server said another text.
    """
    given = await force(model, example.messages, example.response, max_tokens=max_tokens)
    alone = await force(model, ALONE, example.response, max_tokens=max_tokens)
    return Likelihood(given.logprob, alone.logprob, given.tokens, given.cut)
