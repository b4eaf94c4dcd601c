"""What one endpoint understands: names of parameters, its limits, and what it refuses.

Endpoints that call themselves OpenAI-compatible differ in few parameters. Each difference is
learned once, from the first refusal, and kept for the life of the client.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any, Final

from clear_pipeline.llm.base import OMIT, Capabilities, ChatRequest, Completion
from clear_pipeline.llm.settings import ModelSettings
from clear_pipeline.llm.wire import Body, request_body
from clear_pipeline.schema import JSON

logger = logging.getLogger(__name__)

REASONING_BUDGET: Final = 1024
"""Fewest output tokens for a model that thinks before it answers."""

_REASONING_NAMES = re.compile(r"o\d|gpt-5")
"""Starts of the names of OpenAI's reasoning models: these get effort `none` first."""

_EFFORTS: Final = ("none", "minimal", "low")
"""Reasoning efforts, least first; a model that takes none of them is asked without one."""

_NAMED = re.compile(
    r"\b(max_tokens|max_completion_tokens|temperature|seed|reasoning_effort)\b"
    r"|\b((?:top_)?logprobs)\b"
    r"|(?<=['\"`])n(?=['\"`])|\bn(?=\s*(?:[=<>]|(?:must|should|has to) be\b|is not\b))"
    r"|one completion choice"
)
"""Parameters that can be changed or left out while the question keeps its meaning."""

_SCORING: Final = r"\b(?:prompt_logprobs|add_generation_prompt|continue_final_message)\b"
_UNKNOWN: Final = (
    r"(?:un(?:known|expected|recogni[sz]ed|supported)|\bextra\b|\badditional\b"
    r"|\binvalid (?:argument|field|name|parameter)"
    r"|(?:\bnot|n't) (?:yet )?(?:allowed|available|implemented|permitted|recogni[sz]ed|support))"
)
_UNTAUGHT = re.compile(
    rf"{_UNKNOWN}[^.\n]{{0,40}}?{_SCORING}|{_SCORING}[^.\n]{{0,40}}?{_UNKNOWN}", re.IGNORECASE
)
"""A server that does not know how given text is scored. One that does names the parameters too,
where a chat template changed the text of a row."""

_UNSHAPED = re.compile(r"response_format|json_schema|structured outputs?", re.IGNORECASE)

_UNNAMED_JSON = re.compile(r"must contain the word ['\"`]?json", re.IGNORECASE)
_JSON_OBJECT: Final = "json_object"

_TOO_LONG = re.compile(
    r"context (?:length|size|window)|maximum model length|prompt is too long"
    r"|maximum number of tokens|too many (?:input |prompt )?tokens",
    re.IGNORECASE,
)

_LIMIT = re.compile(
    r"(?:at most|max(?:imum)?\b[a-z_ :'`]{0,40}|<=|\u2264|(?P<strict><|less than(?! or equal))"
    r"|less than or equal to|up to|(?:no|not) (?:be )?(?:more|greater) than"
    r"|between \d+ and|exceeds?)"
    r"[\s:=]*(?<![A-Za-z])(?P<limit>\d+)(?![\w-]*[A-Za-z])",
    re.IGNORECASE,
)


def too_long(message: str) -> bool:
    """Whether a refusal says that the prompt does not fit into the model's window."""
    return _TOO_LONG.search(message) is not None


class Dialect:
    """The request bodies of one endpoint.

    Args:
        settings: Which model, and where.
    """

    def __init__(self, settings: ModelSettings) -> None:
        self._model = settings.model
        self._limit_name = "max_completion_tokens" if settings.is_openai else "max_tokens"
        self._refused: set[str] = set()
        self._max_samples = settings.max_samples_per_request
        self._max_logprobs: int | None = None
        self._thinks = False
        self._names_json = settings.is_openai
        thinker = settings.is_openai and _REASONING_NAMES.match(settings.model)
        self._effort = _EFFORTS[0] if thinker else None
        self.per_choice_usage = False
        self.capabilities = Capabilities(prompt_logprobs=False if settings.is_openai else None)

    def learned(self) -> dict[str, JSON]:
        """What has been learned so far, as plain values for `recall`."""
        return {
            "limit_name": self._limit_name,
            "refused": sorted(self._refused),
            "max_samples": self._max_samples,
            "max_logprobs": self._max_logprobs,
            "thinks": self._thinks,
            "effort": self._effort,
            "names_json": self._names_json,
            "capabilities": asdict(self.capabilities),
        }

    def recall(self, learned: Mapping[str, Any]) -> None:
        """Know what an earlier client of the same endpoint had learned; settings still hold."""
        most = [n for n in (self._max_samples, learned["max_samples"]) if n is not None]
        self._limit_name = learned["limit_name"]
        self._refused = set(learned["refused"])
        self._max_samples = min(most, default=None)
        self._max_logprobs = learned["max_logprobs"]
        self._thinks = learned["thinks"]
        self._effort = learned["effort"]
        self._names_json = learned.get("names_json", self._names_json)
        self.capabilities = Capabilities(**learned["capabilities"])

    def is_llama_cpp(self, slots: int) -> None:
        """The server is a llama.cpp that computes `slots` samples at once, and no more."""
        self.per_choice_usage = True
        self._max_samples = min(self._max_samples or slots, slots)
        self.capabilities = Capabilities(grammar=True, logprobs=True, slots=slots)

    def fit(self, request: ChatRequest) -> ChatRequest:
        """The first samples of `request`, as many as one call may ask for."""
        return request.with_samples(request.samples[: self._max_samples])

    def body(self, request: ChatRequest) -> Body:
        """The JSON body that asks for all samples of `request`."""
        body = request_body(request, self._model)
        if not self.capabilities.grammar:
            body.pop("grammar", None)
        if "top_logprobs" in body and self._max_logprobs is not None:
            body["top_logprobs"] = min(body["top_logprobs"], self._max_logprobs)
        if self._effort is not None:
            body["reasoning_effort"] = self._effort
        limit = request.max_output_tokens
        if request.score_from is not None or request.count_only:
            limit = 1
        elif self._thinks:
            limit = max(limit, REASONING_BUDGET)
        body[self._limit_name] = limit
        if self._names_json and _asks_json(body) and not _says_json(request):
            del body["response_format"]
        return {name: value for name, value in body.items() if name not in self._refused}

    def learn_from_refusal(self, body: Body, *, param: str | None, message: str) -> bool:
        """Adapt to a "400 Bad Request".

        Args:
            body: What was refused.
            param: The parameter that the server blames, if it names one.
            message: What the server says.

        Returns:
            Whether asking again, with a body that is made anew, may go better.
        """
        self._learn_what_is_missing(body, param, message)
        if _asks_json(body) and self._learn_to_ask_in_words(param or message, message):
            return True
        found = None if too_long(message) else _NAMED.search(param or message)
        name = found.group() if found else ""
        name = "n" if name == "one completion choice" else name
        if name not in body:
            return False
        match name:
            case "reasoning_effort":
                self._next_effort(body[name], message)
            case "n":
                self._max_samples = _smaller(message, body["n"]) or body["n"] // 2
            case "logprobs" | "top_logprobs":
                self._max_logprobs = _smaller(message, body["top_logprobs"])
                if self._max_logprobs is None:
                    self._refused |= {"logprobs", "top_logprobs"}
                    self.capabilities = replace(self.capabilities, logprobs=False)
            case "max_tokens" | "max_completion_tokens":
                other = {"max_tokens": "max_completion_tokens"}.get(name, "max_tokens")
                if other not in message:
                    return False
                self._limit_name = other
            case _:
                self._refused.add(name)
        logger.info("%s: adapted to %r", self._model, message)
        return True

    def _next_effort(self, refused: str, message: str) -> None:
        """The least effort that the refusal lists beside the refused one; a model with any thinks.

        Refusals of requests that were open at the same time all come to the same.
        """
        listed = [e for e in _EFFORTS if e != refused and f"'{e}'" in message]
        self._effort = listed[0] if listed else None
        self._thinks = True

    def _learn_what_is_missing(self, body: Body, param: str | None, message: str) -> None:
        """Note a form of question that the server refuses; without it there is no question.

        Where it has scored a text before, the refusal is of this one.
        """
        if "prompt_logprobs" in body and self.capabilities.prompt_logprobs is None:
            untaught = re.search(_SCORING, param or "") or _UNTAUGHT.search(message)
            if untaught:
                self.capabilities = replace(self.capabilities, prompt_logprobs=False)
        if "response_format" in body and _UNSHAPED.search(param or message):
            self.capabilities = replace(self.capabilities, schema=False)

    def _learn_to_ask_in_words(self, blamed: str, message: str) -> bool:
        """Whether a row can be asked without the form that was refused: JSON, whatever its keys.

        OpenAI takes it only where the prompt names JSON; others not at all.
        """
        if _UNNAMED_JSON.search(message):
            self._names_json = True
        elif _UNSHAPED.search(blamed):
            self._refused.add("response_format")
        else:
            return False
        logger.info("%s: adapted to %r", self._model, message)
        return True

    def learn_from_reply(
        self, request: ChatRequest, body: Body, reply: Completion, *, thought: int
    ) -> bool:
        """Learn whether the model thinks, and what comes of that which was asked for.

        Args:
            request: What was asked.
            body: What was sent for it.
            reply: What came.
            thought: Reasoning tokens that the server counted.

        Returns:
            Whether the reply was cut inside the model's reasoning for lack of room, so that it
            must be asked again, now with room to think.
        """
        if request.score_from is not None:
            scored = reply.choices[0].tokens is not None or bool(self.capabilities.prompt_logprobs)
            self.capabilities = replace(self.capabilities, prompt_logprobs=scored)
            return False
        if request.count_only:
            return False
        self._learn_what_comes(request, reply)
        thinking = [c for c in reply.choices if thought or c.reasoning is not None]
        cut = any(not c.text and c.finish_reason == "length" for c in thinking)
        self._thinks = self._thinks or bool(thinking)
        return cut and body.get(self._limit_name, REASONING_BUDGET) < REASONING_BUDGET

    def _learn_what_comes(self, request: ChatRequest, reply: Completion) -> None:
        """Whether log-probabilities come, and JSON where a schema asks for it.

        What came once is not unlearned, and a reply without text teaches nothing.
        """
        said = [c for c in reply.choices if c.text and not c.withheld]
        known = self.capabilities
        if request.top_logprobs is not OMIT and said and known.logprobs is None:
            given = any(choice.tokens is not None for choice in said)
            self.capabilities = replace(self.capabilities, logprobs=given)
        if request.response_format is not None and said and known.schema is None:
            shaped = all(choice.text.lstrip().startswith("{") for choice in said)
            self.capabilities = replace(self.capabilities, schema=shaped)


def _asks_json(body: Body) -> bool:
    """Whether a reply is to be a JSON object of any keys; a schema is a question of its own."""
    shape = body.get("response_format")
    return isinstance(shape, Mapping) and shape.get("type") == _JSON_OBJECT


def _says_json(request: ChatRequest) -> bool:
    return any("json" in message.text.lower() for message in request.messages)


def _smaller(message: str, asked: int) -> int | None:
    """The largest limit below `asked` that the message names; None if it names none.

    A number that nothing calls a limit may be a part of a model's name.
    """
    limits = [
        int(found["limit"]) - (found["strict"] is not None) for found in _LIMIT.finditer(message)
    ]
    return max((n for n in limits if 1 <= n < asked), default=None)
