"""The one seam to a language model: a request, its completion, and the `ChatModel` protocol.

Everything that changes the answer is in `ChatRequest`; everything else (time-outs, retries,
concurrency, budget) is outside it and outside the cache key.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Final, Protocol

from clear_pipeline.schema import Message


class Omit(Enum):
    """The type of `OMIT`: a parameter that is left out of the request body."""

    OMIT = "omit"


OMIT: Final = Omit.OMIT
"""Leave this parameter to the server's default. Never inferred from truthiness: 0.0 is a value."""

WITHHELD: Final = "content_filter"
"""The finish reason of a sample that is no answer: a filter stopped it, or the model declined."""


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One question to a model, for one or several samples.

    Attributes:
        messages: The conversation; the model writes the next assistant turn.
        max_output_tokens: Upper bound of generated tokens per sample, >= 1.
        temperature: >= 0, or OMIT.
        samples: Which draws are wanted. The index is part of the cache key, so that draw 3 is
            the same text on every rerun and draws differ from each other. Non-empty.
        seed: Base seed; sample i is asked with seed + i. OMIT leaves it out.
        top_logprobs: How many alternatives per token, 0 = the token alone; OMIT = none at all.
        stop: Up to 4 strings that end the text.
        tools: Canonical JSON list of OpenAI tool definitions, or None.
        response_format: Canonical JSON of OpenAI's `response_format`, or None.
        grammar: GBNF (llama.cpp only), or None.
        score_from: Score the last message, an assistant turn, instead of continuing the
            conversation: the choice's tokens are then those of the prompt, from this position
            on (vLLM only). None = generate.
        count_only: Nothing but `usage.prompt` is wanted, so that no room to think is given.
    """

    messages: tuple[Message, ...]
    max_output_tokens: int
    temperature: float | Omit
    samples: range = field(default_factory=lambda: range(1))
    seed: int | Omit = OMIT
    top_logprobs: int | Omit = OMIT
    stop: tuple[str, ...] = ()
    tools: str | None = None
    response_format: str | None = None
    grammar: str | None = None
    score_from: int | None = None
    count_only: bool = False

    def __post_init__(self) -> None:
        if self.max_output_tokens < 1:
            raise ValueError(f"max_output_tokens must be >= 1, got {self.max_output_tokens}")
        if len(self.samples) == 0:
            raise ValueError("samples must not be empty")

    def with_samples(self, samples: range) -> ChatRequest:
        """The same question for other draws."""
        return self if samples == self.samples else replace(self, samples=samples)


@dataclass(frozen=True, slots=True)
class Token:
    """One generated token.

    Attributes:
        text: The token as the server prints it.
        logprob: Natural logarithm of its probability, <= 0.
        top: Alternatives at this position, most likely first, as (text, logprob).
    """

    text: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Choice:
    """One sample.

    Attributes:
        text: The generated text, "" if there is none.
        finish_reason: As the server says: stop, length, tool_calls, content_filter ...; `WITHHELD`
            for what it calls a refusal, whatever it says.
        tokens: Per-token log-probabilities; None where the server gave none, empty where one of
            them was no number.
        tool_calls: Canonical JSON, or None.
        reasoning: What a reasoning model thought before `text`, or None.
    """

    text: str
    finish_reason: str
    tokens: tuple[Token, ...] | None = None
    tool_calls: str | None = None
    reasoning: str | None = None

    @property
    def withheld(self) -> bool:
        """Whether `text` is no answer, but at most why there is none."""
        return self.finish_reason == WITHHELD


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens that the server counted.

    Attributes:
        prompt: All tokens of the prompt.
        cached: The part of `prompt` read from the server's cache.
        completion: Generated tokens of all samples, reasoning included.
        cache_write: The part of `prompt` written to the server's cache, where that is billed.
    """

    prompt: int = 0
    cached: int = 0
    completion: int = 0
    cache_write: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.prompt + other.prompt,
            self.cached + other.cached,
            self.completion + other.completion,
            self.cache_write + other.cache_write,
        )


@dataclass(frozen=True, slots=True)
class Completion:
    """The answer: `choices[j]` belongs to `request.samples[j]`; `model` is the served name."""

    choices: tuple[Choice, ...]
    model: str
    usage: Usage = Usage()

    @property
    def text(self) -> str:
        """Text of the first choice."""
        return self.choices[0].text


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What an endpoint is known to offer; asked before a prompt form is chosen.

    Attributes:
        grammar: Accepts GBNF grammars (llama.cpp).
        logprobs: Returns token log-probabilities. None = not known yet.
        slots: How many requests it computes at once; working on as many rows keeps the shared
            prefix of a row's prompts in the server's cache. None = not known.
        llguidance: Its grammars may be llguidance's, which keep to the tokenizer's own tokens.
            Never tried out: a llama.cpp built without it aborts.
        schema: Keeps to the JSON schema of a `response_format`. None = not known yet.
        prompt_logprobs: Answers `score_from` (vLLM). None = not known yet.
    """

    grammar: bool = False
    logprobs: bool | None = None
    slots: int | None = None
    llguidance: bool = False
    schema: bool | None = None
    prompt_logprobs: bool | None = None


class ChatModel(Protocol):
    """Anything that answers a `ChatRequest`.

    Implementations are safe for concurrent `complete` calls in one event loop.
    """

    @property
    def identity(self) -> str:
        """What makes two models the same for cache and fingerprints: never a port or a key."""
        ...

    @property
    def capabilities(self) -> Capabilities:
        """What the endpoint offers."""
        ...

    async def complete(self, request: ChatRequest) -> Completion:
        """Answer all samples of `request`.

        Raises:
            CallError: No usable answer; `transient` says whether asking later may help.
            BudgetExceededError: A cap forbids the call; nothing was sent.
        """
        ...

    async def close(self) -> None:
        """Release connections; further calls are errors."""
        ...
