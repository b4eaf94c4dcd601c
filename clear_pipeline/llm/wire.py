"""OpenAI's chat format as plain JSON: a request's body, and what a reply says.

Servers differ in what they leave out, so nothing but the text of a choice is taken for granted.
"""

from __future__ import annotations

import json
import math
import textwrap
import unicodedata
from collections.abc import Sequence
from typing import Any, Final, TypeAlias

from clear_pipeline.errors import CallError
from clear_pipeline.llm.base import OMIT, WITHHELD, ChatRequest, Choice, Completion, Token, Usage
from clear_pipeline.schema import Message, canonical_json

Body: TypeAlias = dict[str, Any]

TEMPLATE_TOKENS: Final = 512
"""Room for what a chat template adds of its own: marks around turns, a default system prompt, how
tools are called."""

_NESTED: Final = ("tools", "response_format")
"""Members of a body that templates may write in a form of their own."""

_GIVEN_UP: Final = ("abort", "error", "insufficient_system_resource")
"""Finish reasons of a sample that the server gave up midway: those of vLLM and SGLang, of
OpenRouter, of DeepSeek."""

_REASON_LENGTH: Final = 300

_MOST_TOKENS: Final = 1 << 32
"""More than any request takes; sums of such counts, and of their prices, still fit 64 bits."""


class NoAnswerError(CallError):
    """A reply that is no answer of the API: it holds no choice, or no embedding."""

    def __init__(self, message: str) -> None:
        super().__init__("garbled", message, transient=True)


def request_body(request: ChatRequest, model: str) -> Body:
    """The body for all samples of `request` in one call, without the token limit.

    An omitted parameter is absent; 0 and 0.0 are values and present.
    """
    body: Body = {"model": model, "messages": [_message(m) for m in request.messages]}
    if request.temperature is not OMIT:
        body["temperature"] = request.temperature
    if request.seed is not OMIT:
        body["seed"] = request.seed + request.samples[0]
    if len(request.samples) > 1:
        body["n"] = len(request.samples)
    if request.top_logprobs is not OMIT:
        # llama.cpp takes 0 for "no log-probabilities at all", so at least one is asked for.
        body |= {"logprobs": True, "top_logprobs": max(1, request.top_logprobs)}
    if request.stop:
        body["stop"] = list(request.stop)
    if request.tools is not None:
        body["tools"] = json.loads(request.tools)
    if request.response_format is not None:
        body["response_format"] = json.loads(request.response_format)
    if request.grammar is not None:
        body["grammar"] = request.grammar
    if request.score_from is not None:
        # 0 alternatives: the tokens of the prompt alone. The last message is left open, so that
        # nothing stands after it.
        body |= {
            "prompt_logprobs": 0,
            "add_generation_prompt": False,
            "continue_final_message": True,
        }
    return body


def _message(message: Message) -> Body:
    sent: Body = {"role": message.role, "content": message.content}
    if message.name is not None:
        sent["name"] = message.name
    if message.tool_calls is not None:
        sent["tool_calls"] = json.loads(message.tool_calls)
    if message.tool_call_id is not None:
        sent["tool_call_id"] = message.tool_call_id
    return sent


def parse_usage(reply: Body, *, per_choice: bool) -> Usage:
    """Tokens of a reply; zeros where the server does not count, or counts what cannot be.

    Args:
        reply: The decoded body.
        per_choice: The server counts one choice only (llama.cpp), so the rest is estimated as
            equal to it.
    """
    usage = mapping(reply.get("usage"))
    details = mapping(usage.get("prompt_tokens_details"))
    told = (
        usage.get("prompt_tokens"),
        details.get("cached_tokens"),
        usage.get("completion_tokens"),
        details.get("cache_write_tokens"),
    )
    if not all(count is None or _is_count(count) for count in told):
        return Usage()
    prompt, cached, completion, written = (count or 0 for count in told)
    if cached + written > prompt:
        return Usage()  # by its parts the prompt would cost less than nothing
    listed = reply.get("choices")
    choices = max(1, len(listed)) if per_choice and isinstance(listed, list) else 1
    return Usage(prompt, cached, completion * choices, written)


def body_text(body: Body) -> str:
    """A body as it is sent."""
    return json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def usage_bound(body: Body, text: str | None = None) -> Usage:
    """The most tokens that a request can take, whatever the model's tokenizer is.

    A token stands for at least one byte of the text that the model reads. That text is the
    body's, in a form of its own: templates write tools with indents, tokenizers decompose
    characters. So the bound is the larger of the plain and the decomposed body as JSON, indented
    where it holds more than texts, and some room for what a template adds. Some servers count the
    prompt once per sample.

    Args:
        body: Of the request.
        text: Its `body_text`, where the caller has it.
    """
    if any(name in body for name in _NESTED) or any(
        "tool_calls" in message for message in body.get("messages", ())
    ):
        text = json.dumps(body, ensure_ascii=False, indent=4)
    text = text or body_text(body)
    forms = [text] if text.isascii() else [text, unicodedata.normalize("NFKD", text)]
    prompt = max(len(form.encode("utf-8", "surrogatepass")) for form in forms) + TEMPLATE_TOKENS
    completion = max(body.get("max_tokens", 0), body.get("max_completion_tokens", 0))
    samples = body.get("n", 1)
    return Usage(prompt=prompt * samples, completion=completion * samples)


def thought_tokens(reply: Body) -> int:
    """Reasoning tokens that the server counted, 0 if it does not say."""
    details = mapping(mapping(reply.get("usage")).get("completion_tokens_details"))
    return count_of(details.get("reasoning_tokens"))


def parse_completion(reply: Body, request: ChatRequest, usage: Usage) -> Completion:
    """Read the choices, in order, at most as many as were asked for.

    Choices that hold no message are left out, those that the server gave up midway, and those that
    come twice: the layer above asks for them again. An empty message is an answer.

    Raises:
        NoAnswerError: There is no usable choice.
        CallError: `garbled`: a log-probability is NaN. `bad_reply`: a token of a message that was
            to be scored was not. `outage`: the server gave up every choice.
    """
    choices = reply.get("choices")
    ordered = _ordered(choices if isinstance(choices, list) else [])
    keep = 0 if request.top_logprobs is OMIT else request.top_logprobs
    dictated = request.grammar is not None
    read = (_choice(c, keep, dictated=dictated) for c in ordered)
    parsed = [choice for choice in read if choice is not None]
    if not parsed:
        raise _given_up(ordered) or NoAnswerError("the reply holds no usable choice")
    if request.score_from is not None:
        parsed = [_scored(reply, request.score_from)]
    return Completion(tuple(parsed[: len(request.samples)]), str(reply.get("model") or ""), usage)


def _ordered(choices: Sequence[object]) -> list[object]:
    """By index, and each choice once: one that comes again with its index is no other sample.

    A server that numbers none, or all of them 0, may well give the same sample twice.
    """
    numbered = any(count_of(mapping(choice).get("index")) for choice in choices)
    once = [c for n, c in enumerate(choices) if not numbered or c not in choices[:n]]
    return sorted(once, key=lambda choice: count_of(mapping(choice).get("index")))


def _given_up(choices: Sequence[object]) -> CallError | None:
    """Why there is no sample, where the server says that it gave one up; None where it does not."""
    for fields in map(mapping, choices):
        if (finish := fields.get("finish_reason")) in _GIVEN_UP:
            said = mapping(fields.get("error")).get("message") or "no reason given"
            why = textwrap.shorten(str(said), _REASON_LENGTH, placeholder=" ...")
            return CallError("outage", f"the answer broke off ({finish}): {why}", transient=True)
    return None


def _choice(choice: object, keep: int, *, dictated: bool) -> Choice | None:
    """One sample; None if it holds no message, or half a one. A dictated text is left as it is."""
    fields = mapping(choice)
    message = fields.get("message")
    if not isinstance(message, dict) or fields.get("finish_reason") in _GIVEN_UP:
        return None
    text: object = message.get("content") or ""
    thought = message.get("reasoning_content") or message.get("reasoning") or None
    if isinstance(text, list):
        said, pondered = _parts(text)
        text, thought = said, thought or pondered
    refusal = _refusal(message)
    text = refusal or text
    if not isinstance(text, str):
        return None
    calls = message.get("tool_calls")
    if thought is None and not dictated:
        thought, text = _without_thought(text)
    return Choice(
        text=text,
        finish_reason=WITHHELD if refusal else str(fields.get("finish_reason") or "stop"),
        tokens=_tokens(mapping(fields.get("logprobs")).get("content"), keep),
        tool_calls=canonical_json(calls) if calls else None,
        reasoning=thought if isinstance(thought, str) else None,
    )


def _refusal(message: Body) -> str | None:
    """How the model declines to answer; None where it does not, "" being no refusal.

    It stands in a member of its own, of the message or of a part, beside a finish reason of `stop`.
    """
    content = message.get("content")
    parts = content if isinstance(content, list) else ()
    said = (mapping(holder).get("refusal") for holder in (message, *parts))
    return next((text for text in said if text and isinstance(text, str)), None)


def _parts(parts: Sequence[object]) -> tuple[str | None, str | None]:
    """The text and the reasoning of a message in parts; None for what no part holds.

    Parts of other kinds, an image or a reference, are left out.
    """
    said, pondered = [], []
    for part in map(mapping, parts):
        if isinstance(thought := part.get("thinking") or part.get("reasoning"), list):
            pondered.append(_parts(thought)[0] or "")
        elif isinstance(thought, str):
            pondered.append(thought)
        elif isinstance(text := part.get("text"), str):
            said.append(text)
    text = "".join(said) if said or pondered else None
    return text, "".join(pondered) or None


def _without_thought(text: str) -> tuple[str | None, str]:
    """The reasoning that a server left in the text, if any, and what follows it."""
    opened = text.lstrip().startswith("<think>")
    if not opened and ("</think>" not in text or "<think>" in text):
        return None, text
    thought, _, said = text.partition("</think>")
    return thought.replace("<think>", "", 1).strip(), said.lstrip()


def _scored(reply: Body, start: int) -> Choice:
    """The prompt's tokens from `start` on, as vLLM lists them.

    Each position is a mapping from token id to log-probability and text; the token that stands
    there comes first. The first position of all is null. A server that scores no prompts gives
    none, which is an answer: asked again, it would give none again.
    """
    listed = reply.get("prompt_logprobs")
    positions: Sequence[object] = listed[start:] if isinstance(listed, list) else ()
    tokens = []
    for position in positions:
        entry = mapping(next(iter(mapping(position).values()), None))
        logprob = _logprob(entry.get("logprob"))
        text = entry.get("decoded_token")
        if logprob is None or not isinstance(text, str):
            raise CallError("bad_reply", "a token of the prompt was not scored", transient=False)
        tokens.append(Token(text, logprob))
    return Choice("".join(token.text for token in tokens), "stop", tuple(tokens) or None)


def _tokens(content: object, keep: int) -> tuple[Token, ...] | None:
    """Log-probabilities; None without any, empty if one of the chosen tokens has none."""
    if not isinstance(content, list) or not content:
        return None
    tokens = []
    for entry in content:
        fields = mapping(entry)
        logprob = _logprob(fields.get("logprob"))
        if logprob is None:
            return ()
        listed = [mapping(top) for top in fields.get("top_logprobs") or ()]
        scored = [(_text(top), _logprob(top.get("logprob"))) for top in listed]
        known = [(text, value) for text, value in scored if value is not None]
        top = tuple(sorted(known, key=lambda pair: -pair[1])[:keep])
        tokens.append(Token(_text(fields), logprob, top))
    return tuple(tokens)


def _text(token: Body) -> str:
    text = token.get("token")
    return text if isinstance(text, str) else ""


def _logprob(value: object) -> float | None:
    """A finite log-probability; rounding above 0 is cut, and null and infinity are None.

    Raises:
        CallError: `garbled`: it is NaN, which a computation gone wrong leaves behind.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if math.isnan(value):
        raise CallError("garbled", "a log-probability is no number (NaN)", transient=True)
    if math.isinf(value):
        return None
    return min(0.0, float(value))


def mapping(value: object) -> Body:
    """`value`, or {} if it is no object."""
    return value if isinstance(value, dict) else {}


def count_of(value: object) -> int:
    """`value`, or 0 if it is no positive whole number."""
    return value if isinstance(value, int) and value > 0 else 0


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value <= _MOST_TOKENS
