"""One line of a batch file and one line of its results, in OpenAI's format."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from clear_pipeline.llm.base import OMIT, ChatRequest, Omit, Usage
from clear_pipeline.llm.wire import Body, usage_bound
from clear_pipeline.schema import JSON, canonical_json

PATH: Final = "/v1/chat/completions"
"""Where each request of a batch goes."""

_NO_REASON: Final = "no reason given"

_BYTES_PER_TOKEN: Final = 3
"""Fewer than English has, so that the estimate is rather too high."""


@dataclass(frozen=True, slots=True)
class Question:
    """What one line of a batch asks: some samples of one question.

    Attributes:
        hash: `cache.question_hash` of the request.
        request: What is asked. Read back from a file it has no messages: nothing that reads a
            reply needs them.
    """

    hash: str
    request: ChatRequest

    @property
    def id(self) -> str:
        """The line's `custom_id`: the same for the same samples of the same question."""
        samples = self.request.samples
        text = f"{self.hash}:{samples.start}:{samples.stop}"
        return hashlib.sha256(text.encode()).hexdigest()[:40]

    def to_json(self) -> str:
        """Everything but the messages."""
        request = self.request
        return canonical_json(
            {
                "hash": self.hash,
                "max_output_tokens": request.max_output_tokens,
                "temperature": _given(request.temperature),
                "samples": [request.samples.start, request.samples.stop],
                "seed": _given(request.seed),
                "top_logprobs": _given(request.top_logprobs),
                "stop": request.stop,
                "tools": request.tools,
                "response_format": request.response_format,
                "grammar": request.grammar,
                "score_from": request.score_from,
                "count_only": request.count_only,
            }
        )

    @classmethod
    def from_json(cls, text: str) -> Question:
        """Read `to_json` back."""
        stored: dict[str, Any] = json.loads(text)
        for name in ("temperature", "seed", "top_logprobs"):
            stored[name] = OMIT if stored[name] is None else stored[name]
        question, samples, stop = stored.pop("hash"), stored.pop("samples"), stored.pop("stop")
        request = ChatRequest(messages=(), samples=range(*samples), stop=tuple(stop), **stored)
        return cls(question, request)


@dataclass(frozen=True, slots=True)
class Result:
    """One line of the results.

    Attributes:
        id: The `custom_id` of the request.
        status: HTTP status of its reply; 0 where it was not sent, or none came.
        reply: The body of the reply; where it has none, why, an object or a text.
        code: Why it was not sent, such as `batch_expired`; "" if it was.
        message: The same, for people.
    """

    id: str
    status: int
    reply: object
    code: str = ""
    message: str = ""


def request_line(question: Question, body: Body) -> str:
    """The line that asks it, with the line's end."""
    line = {"custom_id": question.id, "method": "POST", "url": PATH, "body": body}
    return json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n"


def prompt_tokens(body: Body) -> int:
    """About how many tokens a prompt has, for the limit on enqueued tokens."""
    text = json.dumps([body["messages"], body.get("tools")], ensure_ascii=False)
    return len(text.encode("utf-8", "surrogatepass")) // _BYTES_PER_TOKEN + 1


@dataclass(frozen=True, slots=True)
class Sent:
    """What was sent for a question.

    Attributes:
        body: Without its messages.
        most: Upper bound of the tokens that it can take.
    """

    body: Body
    most: Usage


def sent_by_id(lines: Iterable[bytes]) -> dict[str, Sent]:
    """By id, what a file of requests holds."""
    found = {}
    for line in lines:
        parsed = json.loads(line)
        body = parsed["body"]
        found[parsed["custom_id"]] = Sent({**body, "messages": []}, usage_bound(body))
    return found


def results(
    lines: Iterable[bytes], clean: Callable[[Any], Any] = lambda value: value
) -> Iterator[Result | None]:
    """The results in a file of them; None for a line that is none.

    Args:
        lines: Of the file.
        clean: Takes out of a decoded line what must not be kept.
    """
    for line in lines:
        if line.strip():
            yield _result(line, clean)


def _result(line: bytes, clean: Callable[[Any], Any]) -> Result | None:
    try:
        parsed = clean(json.loads(line))
    except (ValueError, RecursionError):
        return None
    if not isinstance(parsed, dict) or not isinstance(parsed.get("custom_id"), str):
        return None
    response, error = parsed.get("response"), parsed.get("error")
    if isinstance(response, dict) and isinstance(status := response.get("status_code"), int):
        body = response.get("body")
        # vLLM writes what a server would have refused beside the response.
        return Result(parsed["custom_id"], status, (error or _NO_REASON) if body is None else body)
    said = error if isinstance(error, dict) else {"message": error}
    code, message = str(said.get("code") or "unknown"), str(said.get("message") or _NO_REASON)
    return Result(parsed["custom_id"], 0, None, code, message)


def _given(value: float | Omit) -> JSON:
    return None if value is OMIT else value
