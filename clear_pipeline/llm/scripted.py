"""A model that answers from a script: the shipped fake for tests, dry runs and documentation."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from clear_pipeline.llm.base import Capabilities, ChatRequest, Choice, Completion, Usage

Reply = str | Choice
Script = Callable[[ChatRequest, int], Reply]
"""Maps a request and a sample index to a reply. Must be a pure function of the two."""


class ScriptedChat:
    """A `ChatModel` whose replies come from `script`; it records every request it gets.

    Args:
        script: The reply to each sample, see `Script`. Raise `CallError` in it to fail a call.
        name: Served name and identity; change it when the script changes.
        capabilities: What to claim.
    """

    def __init__(
        self,
        script: Script,
        *,
        name: str = "scripted",
        capabilities: Capabilities | None = None,
    ) -> None:
        self._script = script
        self._name = name
        self._capabilities = capabilities or Capabilities(logprobs=True, prompt_logprobs=False)
        self.requests: list[ChatRequest] = []

    @property
    def identity(self) -> str:
        """The given name."""
        return f"scripted:{self._name}"

    @property
    def capabilities(self) -> Capabilities:
        """As given."""
        return self._capabilities

    async def complete(self, request: ChatRequest) -> Completion:
        """Answer from the script; usage counts white-space separated words."""
        self.requests.append(request)
        choices = tuple(_as_choice(self._script(request, i)) for i in request.samples)
        prompt = sum(len(m.text.split()) for m in request.messages)
        written = sum(len(c.text.split()) for c in choices)
        return Completion(choices, self._name, Usage(prompt=prompt, completion=written))

    async def close(self) -> None:
        """Nothing to release."""


def _as_choice(reply: Reply) -> Choice:
    return reply if isinstance(reply, Choice) else Choice(text=reply, finish_reason="stop")


def uniform(request: ChatRequest, sample: int, *, salt: str = "") -> float:
    """A number in [0, 1) that depends on the request and sample alone, for scripts."""
    text = "\x00".join([salt, str(sample), *(m.role + m.text for m in request.messages)])
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
