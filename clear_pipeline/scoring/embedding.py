"""Semantic agreement of two answers by the cosine of their embeddings."""

from __future__ import annotations

import json

import numpy as np
import numpy.typing as npt

from clear_pipeline.errors import CallError
from clear_pipeline.llm.base import OMIT, ChatModel, ChatRequest
from clear_pipeline.schema import Example, Message, Role
from clear_pipeline.scoring.passages import Passage, passages


async def embedded_agreement(model: ChatModel, example: Example, other: str) -> float:
    """How near two answers are: the mean, over both directions, of the best cosine, in [0, 1].

    Long answers are embedded passage by passage, and each passage is held against the nearest one
    of the other answer; the mean goes over sentences. A cosine below 0 counts as 0: texts that
    have nothing in common do not agree, and there is nothing less. The request is not embedded:
    it would stand in both texts, and make all short answers alike.

    One call per passage; the row's own are asked for once, whatever the number of draws.

    Args:
        model: Of the role `embedder`, see `llm.embeddings`.
        example: The row; its response is the one answer.
        other: The other answer.

    Raises:
        CallError: A call failed, or what came is no vector of the same length (`bad_reply`).
    """
    ours, theirs = passages(example.response), passages(other)
    left, right = await _embedded(model, ours), await _embedded(model, theirs)
    if left.shape[1] != right.shape[1]:
        raise CallError("bad_reply", "embeddings of different lengths", transient=False)
    cosines = np.clip(left @ right.T, 0.0, 1.0)
    forward = np.average(cosines.max(axis=1), weights=[part.sentences for part in ours])
    backward = np.average(cosines.max(axis=0), weights=[part.sentences for part in theirs])
    return float(forward + backward) / 2


async def _embedded(model: ChatModel, parts: list[Passage]) -> npt.NDArray[np.float64]:
    """One row of length 1 per passage; a zero vector, which has no direction, stays zero."""
    rows = [await embedding(model, part.text) for part in parts]
    if len({len(row) for row in rows}) > 1:
        raise CallError("bad_reply", "embeddings of different lengths", transient=False)
    vectors = np.array(rows, dtype=np.float64)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: npt.NDArray[np.float64] = vectors / np.where(lengths > 0, lengths, 1.0)
    return unit


async def embedding(model: ChatModel, text: str) -> list[float]:
    """The vector that a model of the role `embedder` gives a text, of any length.

    Raises:
        CallError: The call failed, or what came is no vector (`bad_reply`).
    """
    request = ChatRequest((Message(Role.USER, text),), max_output_tokens=1, temperature=OMIT)
    said = (await model.complete(request)).text
    try:
        vector = json.loads(said)
        return [float(value) for value in vector]
    except (ValueError, TypeError) as error:
        raise CallError("bad_reply", f"no embedding: {said[:80]!r}", transient=False) from error
