"""How likely the model finds the given response, after the request and on its own."""

from __future__ import annotations

import math
from dataclasses import dataclass

from clear_pipeline.errors import UsageError
from clear_pipeline.llm.base import ChatModel
from clear_pipeline.prompts.forced import forced_request, parse_forced
from clear_pipeline.schema import Example, Message, Role

ALONE = (Message(role=Role.USER, content=""),)
"""The request behind log p(y): one that says nothing."""


@dataclass(frozen=True, slots=True)
class Likelihood:
    """Log-probabilities of a response, or of its beginning; natural logarithms, <= 0.

    Attributes:
        given_prompt: log p(y | x), summed over the scored tokens.
        alone: log p(y), summed over the scored tokens.
        tokens: How many tokens were scored.
        cut: True if the response goes on after them.
    """

    given_prompt: float
    alone: float
    tokens: int
    cut: bool

    @property
    def score(self) -> float:
        """The gain per token, log p(y | x) - log p(y) over n, through the logistic function.

        In (0, 1): 0.5 where the request says nothing about the response.
        """
        gain = (self.given_prompt - self.alone) / self.tokens
        return 1 / (1 + math.exp(-max(-500.0, min(500.0, gain))))


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
    logs, counts, cuts = [], [], []
    for messages in (example.messages, ALONE):
        request = forced_request(messages, example.response, max_tokens=max_tokens)
        choice = (await model.complete(request)).choices[0]
        tokens = parse_forced(choice, example.response)
        logs.append(math.fsum(min(token.logprob, 0.0) for token in tokens))
        counts.append(len(tokens))
        cuts.append(choice.finish_reason == "length")
    return Likelihood(logs[0], logs[1], counts[0], any(cuts))
