"""What a model in torch is asked: the body of a chat completion, as far as it is understood."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Annotated, Any, Final, Self

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, field_validator, model_validator

_MOST_SAMPLES: Final = 8
"""Computed at once; more are asked for again."""
_LEAST_TEMPERATURE: Final = 1e-6
"""Above 0; what is divided by less leaves the range of its numbers."""


class RefusedError(Exception):
    """A request that this model does not answer; the message says why."""


class Question(BaseModel):
    """The body of a chat completion, as far as it is understood."""

    model_config = ConfigDict(frozen=True)

    messages: Annotated[list[dict[str, Any]], Field(min_length=1)]
    tools: list[dict[str, Any]] | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = Field(
        default=None, validation_alias=AliasChoices("max_tokens", "max_completion_tokens")
    )
    temperature: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0
    n: Annotated[int, Field(ge=1)] = 1
    seed: Annotated[int, Field(ge=-(2**63), lt=2**64)] | None = None
    stop: tuple[str, ...] = ()
    logprobs: bool = False
    top_logprobs: Annotated[int, Field(ge=0)] = 0
    add_generation_prompt: bool = True
    continue_final_message: bool = False
    """Whether the last turn is left open, so that nothing stands after it."""
    prompt_logprobs: int | None = None
    """Not None: the log-probability of each token of the prompt is told too, as vLLM does."""
    response_format: Any = None
    grammar: Any = None

    @field_validator("stop", mode="before")
    @classmethod
    def _one_is_a_list(cls, given: Any) -> Any:  # noqa: ANN401 -- whatever came
        return (given,) if isinstance(given, str) else given or ()

    @model_validator(mode="after")
    def _can_be_done(self) -> Self:
        if self.n > _MOST_SAMPLES:
            raise ValueError(f"n must be at most {_MOST_SAMPLES}")
        if 0 < self.temperature < _LEAST_TEMPERATURE:
            raise ValueError(f"temperature must be 0, or at least {_LEAST_TEMPERATURE:g}")
        for name in ("response_format", "grammar"):
            if getattr(self, name) is not None:
                raise ValueError(f"{name} is not supported")
        return self


def for_template(message: Mapping[str, Any]) -> dict[str, Any]:
    """A turn as templates read it: arguments of a call are an object there, and content is text."""
    turn = {"content": "", **{name: v for name, v in message.items() if v is not None}}
    if isinstance(parts := turn["content"], list):
        turn["content"] = "".join(str(part.get("text") or "") for part in parts)
    if isinstance(calls := turn.get("tool_calls"), list):
        turn["tool_calls"] = [_call_for_template(call) for call in calls]
    return turn


def _call_for_template(call: Mapping[str, Any]) -> Mapping[str, Any]:
    function = call.get("function")
    if isinstance(function, Mapping) and isinstance(text := function.get("arguments"), str):
        with suppress(ValueError):
            if isinstance(arguments := json.loads(text), dict):
                return {**call, "function": {**function, "arguments": arguments}}
    return call
