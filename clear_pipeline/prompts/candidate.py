"""The model writes a better target: what it is asked, and when its reply is fit to be one."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from functools import partial

from clear_pipeline.llm.base import OMIT, ChatRequest, Choice
from clear_pipeline.schema import JSON, LONE_SURROGATE, Example, Message

_JSON_OBJECT = '{"type":"json_object"}'
REFUSAL = re.compile(
    r"(?:i'?m|i am) (?:sorry|unable|not able)|sorry, (?:but )?i\b|i apologi[sz]e"
    r"|i (?:can'?t|cannot|can not|won'?t) (?:assist|help|comply|provide|fulfil|answer|do that)"
    r"|as an? (?:ai|language model)",
    re.IGNORECASE,
)
"""How a reply begins that declines to answer."""
_FENCED = re.compile(r"```[\w+-]*\n(.*?)\n?```", re.DOTALL)


class UnfitCandidateError(ValueError):
    """A reply that cannot be a target; the message says why."""


def candidate_request(
    example: Example, *, max_tokens: int, temperature: float, samples: range
) -> ChatRequest:
    """The row's own conversation, as a chat: the model simply gives the next turn.

    No words are added, so that a fine-tuned model is asked in the form that it was trained on.
    Where the row's own response is a JSON object, one is asked for by `response_format`: a model
    that was not tuned on such rows else reasons first. Several samples have seeds, so that they
    are as many different draws wherever the server takes a seed.
    """
    wants_json = example.tools is None and isinstance(_json(example.response), dict)
    return ChatRequest(
        messages=example.messages,
        max_output_tokens=max_tokens,
        temperature=temperature,
        samples=samples,
        seed=0 if len(samples) > 1 else OMIT,
        tools=example.tools,
        response_format=_JSON_OBJECT if wants_json else None,
    )


def parse_candidate(choice: Choice, example: Example) -> Message:
    """The reply as a new target for the row: its role, name and weight are kept.

    A reply that is nothing but one code block is taken out of it where the row's own response
    stands in none, and JSON gets the spaces of the row's own JSON: a correction teaches another
    answer, not another form.

    Raises:
        UnfitCandidateError: It was cut, is empty, declines, or holds half of a character.
    """
    if choice.finish_reason == "length":
        raise UnfitCandidateError("it was cut at the token limit")
    text = choice.text.replace("\u2019", "'").strip()
    if choice.withheld or REFUSAL.match(text):
        raise UnfitCandidateError("the model declined to answer")
    content = _bare(choice.text.strip(), example.response)
    if not content and not choice.tool_calls:
        raise UnfitCandidateError("it is empty")
    content = _laid_out_like(example.response, content)
    refuse_halves(content, choice.tool_calls)
    return replace(example.target, content=content or None, tool_calls=choice.tool_calls)


def refuse_halves(*texts: str | None) -> None:
    """Refuse a text that no file can hold.

    Raises:
        UnfitCandidateError: One holds half of a character.
    """
    if any(LONE_SURROGATE.search(text) for text in texts if text is not None):
        raise UnfitCandidateError("it holds half of a character")


def _bare(text: str, original: str) -> str:
    block = _FENCED.fullmatch(text)
    if block is None or "```" in block[1] or "```" in original:
        return text
    return block[1].strip()


def _laid_out_like(original: str, text: str) -> str:
    old, new = _json(original), _json(text)
    for separators in ((", ", ": "), (",", ":")):
        write = partial(json.dumps, ensure_ascii=False, separators=separators)
        if old is not None and new is not None and write(old) == original:
            return write(new)
    return text


def _json(text: str) -> JSON:
    """The JSON object or list that `text` is, else None."""
    try:
        value: JSON = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict | list) else None
