"""Where the agreement of a draw with the row's own response comes from."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Literal, TypeAlias

from clear_pipeline.llm.base import ChatModel
from clear_pipeline.scoring.consistency import Agreement, lexical_agreement
from clear_pipeline.scoring.cross_encoder import load_cross_encoder
from clear_pipeline.scoring.embedding import embedded_agreement
from clear_pipeline.scoring.entailment import agreement

Similarity: TypeAlias = Literal["llm", "lexical", "embeddings", "nli"]


def extra_roles(similarity: Similarity) -> tuple[str, ...]:
    """The models that are asked besides the scorer."""
    return ("embedder",) if similarity == "embeddings" else ()


def agreement_by(
    similarity: Similarity,
    models: Mapping[str, ChatModel],
    *,
    via: Literal["logprobs", "text"],
    nli_model: str,
) -> Agreement:
    """The function that says how far a draw agrees with a row's response, in [0, 1].

    Args:
        similarity: Entailment by the model, shared words, embeddings or a cross-encoder.
        models: By role: `scorer`, and those of `extra_roles`.
        via: How the scorer's verdict is read.
        nli_model: Of the cross-encoder: a folder with an ONNX model, or a name on the Hub.

    Raises:
        MissingExtraError: The cross-encoder needs the extra `nli`.
        UsageError: The cross-encoder could not be loaded.
    """
    match similarity:
        case "llm":
            return partial(agreement, models["scorer"], via=via)
        case "embeddings":
            return partial(embedded_agreement, models["embedder"])
        case "nli":
            return load_cross_encoder(nli_model).agreement
        case "lexical":
            return lexical_agreement
