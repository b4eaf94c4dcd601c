"""Embeddings without a server: the mean of a text's token vectors, from weights inside a package.

The weights are those of WordLlama (MIT), in its wheel: 32,000 vectors of 256 numbers, distilled
from token embeddings of Llama 2 and others. They are read as files: its own code looks for the
tokenizer in another folder than its wheel has, and so would fetch it; it pads every text to the
longest one, and sets up logging when it is imported.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from clear_pipeline.errors import MissingExtraError, WeightsError

F32 = npt.NDArray[np.float32]

DIMENSIONS: Final = 256
"""Length of a vector."""
_PACKAGE: Final = "wordllama"
_WEIGHTS: Final = (
    "weights/l2_supercat_256.safetensors",
    "64b47a2dc493cb8e85944076601189739852d7b64e0e1eedcb1937a251cd9fd5",
)
_TOKENIZER: Final = (
    "tokenizers/l2_supercat_tokenizer_config.json",
    "93248f2a9ec36c7b35f700a033d5f36228aae48db61aee31007fa49062cdeb68",
)
"""Files of wordllama 0.4.0 with their SHA-256: other weights would give other vectors."""
_AT_ONCE: Final = 256
"""Texts that are cut into tokens at once."""


_LOADING: Final = threading.Lock()
"""A cache alone has every thread read the weights that asks before they are there."""


@dataclass(frozen=True, slots=True)
class WordVectors:
    """A vector per token.

    Attributes:
        vectors: By the token's number.
        tokenizer: Of `tokenizers`.
    """

    vectors: F32
    tokenizer: Any

    def means(self, texts: Sequence[str]) -> F32:
        """Per text the mean of its tokens' vectors; zeros for a text without a token.

        A text may have any length: nothing of it is left out.
        """
        chunks = [texts[i : i + _AT_ONCE] for i in range(0, len(texts), _AT_ONCE)]
        return np.concatenate(
            [np.empty((0, self.vectors.shape[1]), np.float32), *map(self._means, chunks)]
        )

    def _means(self, texts: Sequence[str]) -> F32:
        from scipy.sparse import csr_array

        encoded = self.tokenizer.encode_batch(list(texts), add_special_tokens=False)
        tokens = [each.ids for each in encoded]
        counts = np.array([len(ids) for ids in tokens], np.int64)
        ids = np.concatenate([np.array(ids, np.int64) for ids in tokens])
        shares = np.repeat(1 / np.maximum(counts, 1), counts).astype(np.float32)
        ends = np.concatenate([[0], np.cumsum(counts)])
        shape = (len(texts), len(self.vectors))
        means: F32 = csr_array((shares, ids, ends), shape=shape) @ self.vectors
        return means


def load_word_vectors() -> WordVectors:
    """Read the weights once per process, in whichever thread asks first.

    Raises:
        MissingExtraError: The extra `semantic` is not installed.
        WeightsError: The package holds other weights.
    """
    with _LOADING:
        return _loaded()


@lru_cache(maxsize=1)
def _loaded() -> WordVectors:
    try:
        from safetensors.numpy import load_file
        from tokenizers import Tokenizer

        weights, tokens = _checked(*_WEIGHTS), _checked(*_TOKENIZER)
    except (ImportError, PackageNotFoundError) as error:
        raise MissingExtraError(
            "embeddings without a server need the extra `semantic`: "
            "pip install 'clear-pipeline[semantic]'; a server's need embed.via=endpoint"
        ) from error
    tokenizer = Tokenizer.from_file(str(tokens))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    vectors = load_file(weights)["embedding.weight"].astype(np.float32)
    return WordVectors(vectors, tokenizer)


def _checked(name: str, sha256: str) -> Path:
    """A file of the package, if it is the one that is meant."""
    path = Path(str(distribution(_PACKAGE).locate_file(f"{_PACKAGE}/{name}")))
    if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
        raise WeightsError(
            f"{path}: missing, or not the file of wordllama 0.4.0: "
            "pip install --force-reinstall 'wordllama==0.4.0.post1'"
        )
    return path
