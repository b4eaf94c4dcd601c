"""A model that answers in a stage's own terms without being one, and notes what it was asked.

The stages run as they are, so that the calls noted are those that they would make of this endpoint.
At the cheap end every verdict is clear and every text short, at the costly one neither is.
"""

from __future__ import annotations

import asyncio
import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from clear_pipeline.corruptions.json_text import is_json
from clear_pipeline.llm.answers import Answer, Answers
from clear_pipeline.llm.base import (
    OMIT,
    Capabilities,
    ChatRequest,
    Choice,
    Completion,
    Token,
    Usage,
)
from clear_pipeline.llm.cache import question_hash
from clear_pipeline.llm.scripted import uniform
from clear_pipeline.prompts.entailment import CHOICES
from clear_pipeline.prompts.forced import forced_text
from clear_pipeline.prompts.judge import DOUBT_VALUES, LETTERS
from clear_pipeline.prompts.reflection import WORDINGS

_WORDS: Final = tuple(
    dict.fromkeys(
        [*LETTERS, *DOUBT_VALUES, *CHOICES, *(c for w in WORDINGS.values() for c in w.values)]
    )
)
"""Everything that a question of ours may be answered by."""
_UNCLEAR: Final = 0.001
"""Of a word, so that all of a question's are less than half."""
_QUESTION: Final = 600
"""Characters at the end of a prompt in which its question stands."""
_BYTES: Final = 4
"""Per token of a text that is written to the limit."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One call.

    Attributes:
        request: With the samples that are not known yet; all of them for an answered call.
        reply: What one sample says; "" where it says nothing of its own.
        free: Whether the model could go on writing to its limit.
        usage: What it took when it was asked; None if it never was.
    """

    request: ChatRequest
    reply: str
    free: bool = False
    usage: Usage | None = None

    @property
    def verdict(self) -> bool:
        """Whether it asks for a verdict, or asks again for one that was not clear."""
        question = _question(self.request)
        return "Reply with one" in question or "VERDICT: A" in question


class Rehearsal:
    """A `ChatModel` that asks nobody.

    Args:
        identity: The model's own, so that its answers are found.
        capabilities: What its endpoint can do. It counts as giving log-probabilities if that is not
            known, and as scoring given texts at the costly end.
        texts: Responses like those that the model would write, at least one.
        costly: Whether verdicts are unclear, so that they are asked for in another way as well, and
            texts are written to the token limit; instead of as long as those.
        embeds: Whether it answers with embeddings.
        answers: Answered before; they are used and nothing is added.

    Attributes:
        asked: Every call so far, in order.
    """

    def __init__(
        self,
        identity: str,
        capabilities: Capabilities,
        *,
        texts: Sequence[str],
        costly: bool = False,
        embeds: bool = False,
        answers: Answers | None = None,
    ) -> None:
        self._identity = identity
        self._capabilities = Capabilities(
            grammar=capabilities.grammar,
            llguidance=capabilities.llguidance,
            slots=capabilities.slots,
            logprobs=capabilities.logprobs is not False,
            schema=capabilities.schema,
            prompt_logprobs=costly if (able := capabilities.prompt_logprobs) is None else able,
        )
        self._texts = texts
        self._costly = costly
        self._embeds = embeds
        self._answers = answers
        self.asked: list[Asked] = []

    @property
    def identity(self) -> str:
        """As given."""
        return self._identity

    @property
    def capabilities(self) -> Capabilities:
        """As given, as far as it is known."""
        return self._capabilities

    async def complete(self, request: ChatRequest) -> Completion:
        """Answer at once, from the cache where that has all samples; others have their turn."""
        await asyncio.sleep(0)
        known = self._known(request)
        if len(known) == len(request.samples):
            usage = sum((known[i].usage for i in request.samples), Usage())
            self.asked.append(Asked(request, "", usage=usage))
            return Completion(tuple(known[i].choice for i in request.samples), "", usage)
        replies = {i: self._reply(request, i) for i in request.samples if i not in known}
        first, free = next(iter(replies.values()))
        # The cache has the first draws, if any; one call asks for the others.
        missing = request.with_samples(request.samples[-len(replies) :])
        self.asked.append(Asked(missing, first.text, free))
        choices = (known[i].choice if i in known else replies[i][0] for i in request.samples)
        return Completion(tuple(choices), "", Usage(prompt=1, completion=1))

    async def close(self) -> None:
        """Nothing to release."""

    def _known(self, request: ChatRequest) -> dict[int, Answer]:
        if self._answers is None:
            return {}
        return self._answers.read(question_hash(self._identity, request), request.samples)

    def _reply(self, request: ChatRequest, sample: int) -> tuple[Choice, bool]:
        """The choice, and whether it is free text."""
        if self._embeds:
            return Choice("[1.0, 0.5]", "stop"), False
        given = (
            request.messages[-1].text if request.score_from is not None else forced_text(request)
        )
        if given is not None:
            token = Token(given, -1.0 - uniform(request, sample, salt=given))
            return Choice(given, "stop", (token,)), False
        if request.top_logprobs is not OMIT and request.max_output_tokens == 1:
            return self._verdict(request), False
        question = _question(request)
        if "VERDICT: A" in question:
            text = f"It is better. VERDICT: {'AB'[sample % 2]}"
        elif "Reply with one" in question:
            text = _offered(question, uniform(request, sample))
        else:
            text = self._text(request, sample)
        return Choice(text, "stop"), True

    def _verdict(self, request: ChatRequest) -> Choice:
        """One token; all words are as likely as that, each in its own measure: rows differ."""
        most = _UNCLEAR if self._costly else 1.0
        top = tuple(
            (word, math.log(most * (0.5 + uniform(request, 0, salt=word) / 2))) for word in _WORDS
        )
        word, logprob = max(top, key=lambda pair: pair[1])
        return Choice(word, "length", (Token(word, logprob, top),))

    def _text(self, request: ChatRequest, sample: int) -> str:
        text = self._texts[int(uniform(request, sample) * len(self._texts))]
        if self._costly:
            size = request.max_output_tokens * _BYTES
            text = (f"{text} " * math.ceil(size / (len(text) + 1)))[:size]
        if request.response_format is None or is_json(text):
            return text
        return json.dumps({"text": text})


def _question(request: ChatRequest) -> str:
    """The last paragraph of the prompt: there our questions stand."""
    return request.messages[-1].text[-_QUESTION:].rpartition("\n\n")[2]


def _offered(question: str, share: float) -> str:
    """One of the words that are offered after "Reply with one", or else before it."""
    before, _, after = question.rpartition("Reply with one")
    for place in (after, before):
        words = [w for w in _WORDS if re.search(rf"(?<!\w){re.escape(w)}(?!\w)", place)]
        if words:
            return words[int(share * len(words))]
    return _WORDS[0]
