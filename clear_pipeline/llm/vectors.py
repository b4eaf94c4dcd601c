"""Embeddings as plain JSON: what a reply of /v1/embeddings says."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate, pairwise

from clear_pipeline.errors import CallError
from clear_pipeline.llm.base import Choice, Completion, Usage
from clear_pipeline.llm.wire import Body, NoAnswerError, count_of, mapping
from clear_pipeline.schema import canonical_json


def parse_embeddings(
    reply: Body, usage: Usage, texts: Sequence[str]
) -> list[Completion | CallError]:
    """The vectors of an answer of /v1/embeddings, each as the text of one choice: a JSON list.

    Args:
        reply: What came.
        usage: Of the whole request; the texts share it by their lengths.
        texts: What was asked about, in order; at least one.

    Returns:
        Per text its answer, or an error `garbled` where not all of its numbers are finite.

    Raises:
        NoAnswerError: There is not one vector for each text.
    """
    data = reply.get("data")
    entries = [mapping(entry) for entry in data] if isinstance(data, list) else []
    entries.sort(key=lambda entry: count_of(entry.get("index")))
    vectors = [entry.get("embedding") for entry in entries]
    lists = [vector for vector in vectors if isinstance(vector, list) and vector]
    if not len(lists) == len(vectors) == len(texts):
        raise NoAnswerError("the reply holds no embedding for each text")
    served = str(reply.get("model") or "")
    return [
        Completion((Choice(canonical_json(vector), "stop"),), served, share)
        if all(isinstance(v, int | float) and math.isfinite(v) for v in vector)
        else CallError("garbled", "the embedding holds more than finite numbers", transient=True)
        for vector, share in zip(lists, _shares(usage, texts), strict=True)
    ]


def _shares(usage: Usage, texts: Sequence[str]) -> list[Usage]:
    """What each text took of one request: by its length, in whole tokens that sum to `usage`."""
    ends = list(accumulate(len(text) or 1 for text in texts))

    def share(total: int, start: int, end: int) -> int:
        return total * end // ends[-1] - total * start // ends[-1]

    return [
        Usage(
            prompt=share(usage.prompt, start, end),
            cached=share(usage.cached, start, end),
            completion=share(usage.completion, start, end),
            cache_write=share(usage.cache_write, start, end),
        )
        for start, end in pairwise([0, *ends])
    ]
