"""Semantic agreement by a cross-encoder for natural-language inference, as in the paper.

ONNX models run without PyTorch: the extra `nli` is onnxruntime and tokenizers.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np

from clear_pipeline.errors import CallError, MissingExtraError, UsageError, WeightsError
from clear_pipeline.schema import Example, Role
from clear_pipeline.scoring.passages import passages

DEFAULT_NLI_MODEL: Final = "cross-encoder/nli-deberta-v3-small"
"""On the Hugging Face Hub, with ONNX weights; English, Apache-2.0."""

_WEIGHTS: Final = ("onnx/model.onnx", "model.onnx")
_SETTINGS: Final = ("config.json", "tokenizer.json", "tokenizer_config.json")
_NO_LIMIT: Final = 1_000_000
"""Tokenizers without a window say a number far above this."""


@dataclass(frozen=True, slots=True)
class CrossEncoder:
    """A sequence classifier of pairs, one of whose labels is contradiction.

    Attributes:
        session: onnxruntime's, safe to use from several threads.
        tokenizer: Of `tokenizers`; it puts the two texts together as the model was trained.
        contradiction: Index of that label in the model's output.
        window: Tokens that a pair may have.
    """

    session: Any
    tokenizer: Any
    contradiction: int
    window: int

    def contradicts(self, premise: str, hypothesis: str) -> float:
        """Probability that `hypothesis` contradicts `premise`.

        Raises:
            CallError: `context`: the pair is longer than the window. Nothing is cut.
        """
        pair = self.tokenizer.encode(premise, hypothesis)
        if len(pair.ids) > self.window:
            raise CallError(
                "context",
                f"a question with two answers is {len(pair.ids)} tokens long, the cross-encoder "
                f"takes {self.window}",
                transient=False,
            )
        known = {
            "input_ids": pair.ids,
            "attention_mask": pair.attention_mask,
            "token_type_ids": pair.type_ids,
        }
        names = [entry.name for entry in self.session.get_inputs()]
        inputs = {name: np.array([known[name]], dtype=np.int64) for name in names}
        logits = np.asarray(self.session.run(None, inputs)[0], dtype=np.float64)[0]
        weights = np.exp(logits - logits.max())
        return float(weights[self.contradiction] / weights.sum())

    async def agreement(self, example: Example, other: str) -> float:
        """How far two responses agree: s = 1 - (p(y, other) + p(other, y)) / 2, in [0, 1].

        p(a, b) is the probability that b contradicts a. Premise and hypothesis are "Question ...
        Answer ...", with the last turn of the user as the question. Long answers are compared
        passage by passage: a passage of b is contradicted as far as the passage of a that
        contradicts it most, and p is the mean over the sentences of b.

        Raises:
            CallError: `context`: a question with two passages is longer than the window.

        Source: Chen & Mueller 2023 (arXiv 2308.16175), observed consistency.
        """
        asked = [m.text for m in example.messages if m.role == Role.USER]
        question = asked[-1] if asked else ""
        forward = await asyncio.to_thread(self._mean, question, example.response, other)
        backward = await asyncio.to_thread(self._mean, question, other, example.response)
        return 1.0 - (forward + backward) / 2

    def _mean(self, question: str, premise: str, hypothesis: str) -> float:
        grounds = [_statement(question, part.text) for part in passages(premise)]
        parts = passages(hypothesis)
        worst = [
            max(self.contradicts(ground, _statement(question, part.text)) for ground in grounds)
            for part in parts
        ]
        return float(np.average(worst, weights=[part.sentences for part in parts]))


@lru_cache(maxsize=1)
def load_cross_encoder(name: str) -> CrossEncoder:
    """Load a model once per process.

    Args:
        name: A folder with `config.json`, `tokenizer.json` and `model.onnx` (or
            `onnx/model.onnx`), else the name of a repository on the Hugging Face Hub.

    Raises:
        MissingExtraError: The extra `nli` is not installed.
        WeightsError: A file could not be had.
        UsageError: The model does not say which of its labels is contradiction.
    """
    try:
        import onnxruntime
        import tokenizers
    except ImportError as error:
        raise MissingExtraError(
            "similarity: nli needs the extra `nli`: pip install 'clear-pipeline[nli]'"
        ) from error
    folder = Path(name) if Path(name).is_dir() else _downloaded(name)
    weights = next((folder / file for file in _WEIGHTS if (folder / file).is_file()), None)
    if weights is None:
        raise WeightsError(
            f"{name} has no {' or '.join(_WEIGHTS)}; export it with "
            "`optimum-cli export onnx --task text-classification`"
        )
    config = _json(folder / "config.json")
    tokenizer = tokenizers.Tokenizer.from_file(str(_there(folder / "tokenizer.json")))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    session = onnxruntime.InferenceSession(str(weights), providers=["CPUExecutionProvider"])
    return CrossEncoder(session, tokenizer, _contradiction(name, config), _window(folder, config))


def _statement(question: str, answer: str) -> str:
    return f"Question: {question}\nAnswer: {answer}"


def _downloaded(name: str) -> Path:
    # Comes with tokenizers.
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, allow_patterns=[*_SETTINGS, *_WEIGHTS]))
    except Exception as error:
        raise WeightsError(
            f"{name} is no folder, and could not be fetched from the Hugging Face Hub "
            f"({type(error).__name__}); set nli_model to a folder with an ONNX model"
        ) from error


def _contradiction(name: str, config: Mapping[str, Any]) -> int:
    labels = config.get("id2label") or {}
    found = [int(index) for index, label in labels.items() if "contradict" in str(label).casefold()]
    if len(found) != 1:
        raise UsageError(
            f"{name}: none or several of its labels ({', '.join(map(str, labels.values()))}) is "
            "contradiction; set nli_model to a model for natural-language inference"
        )
    return found[0]


def _window(folder: Path, config: Mapping[str, Any]) -> int:
    told = folder / "tokenizer_config.json"
    length = _json(told).get("model_max_length") if told.is_file() else None
    if isinstance(length, int | float) and length < _NO_LIMIT:
        return int(length)
    return int(config.get("max_position_embeddings", _NO_LIMIT))


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(_there(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise WeightsError(f"{path} is no JSON") from error
    return value if isinstance(value, dict) else {}


def _there(path: Path) -> Path:
    if not path.is_file():
        raise WeightsError(f"{path} is missing; a cross-encoder is a folder with {_SETTINGS[:2]}")
    return path
