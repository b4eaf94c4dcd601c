"""Rows that say the same in other words: pairs of embeddings, see `semantic` and `claims`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Literal

import numpy as np
import pyarrow.compute as pc

from clear_pipeline.errors import RunFailedError
from clear_pipeline.stages.base import Context, Shard, Shards
from clear_pipeline.stages.dedup.claims import claim_keys
from clear_pipeline.stages.dedup.clusters import Pairs
from clear_pipeline.stages.dedup.corpus import TEXTS, Corpus, prompt_texts
from clear_pipeline.stages.dedup.near import Compare
from clear_pipeline.stages.dedup.semantic import F16, similar_pairs
from clear_pipeline.stages.dedup.words import I64

_NEIGHBOURS: Final = 16
"""Of a row with more similar rows before it, so many of them are its pairs."""


@dataclass(frozen=True, slots=True)
class Compared:
    """What of the rows is compared, and from what.

    Attributes:
        sides: As in the settings of `Dedup`.
        embedded: What the vectors are of, as in the settings of `Embed`.
    """

    sides: Compare
    embedded: Literal["both", "prompt", "response"]

    @classmethod
    def of(cls, sides: Compare, ctx: Context) -> Compared:
        """By what the run has embedded."""
        record = ctx.records.get("embed")
        return cls(sides, "both" if record is None else record.settings["text"])

    @property
    def parts(self) -> int:
        """Vectors of which each is compared for itself."""
        return 2 if self.sides == "both" else 1

    def vectors(self, embedded: F16) -> F16:
        """Of vectors, one a row, those parts that are compared."""
        half = embedded.shape[1] // 2
        if self.sides == self.embedded:
            return embedded
        return embedded[:, :half] if self.sides == "prompt" else embedded[:, half:]


@dataclass(frozen=True, slots=True, eq=False)
class Embedded:
    """The alive rows of one shard that have an embedding.

    Attributes:
        alive: How many rows are alive.
        places: Of those with an embedding, among the alive ones.
        vectors: Of what is compared, one a row.
        claims: See `claim_keys`.
    """

    alive: int
    places: I64
    vectors: F16
    claims: I64


def look(shard: Shard, alive: Sequence[bool], *, compared: Compared) -> Embedded:
    """Read the vectors, and what the texts claim.

    Raises:
        RunFailedError: Vectors are of several lengths.
    """
    living = shard.table.filter(np.asarray(alive, bool))
    there = pc.is_valid(living["embedding"])
    table = living.filter(there)
    lists = table["embedding"].combine_chunks()
    lengths = set(pc.list_value_length(lists).to_pylist())
    if len(lengths) > 1:
        raise _uneven(f"of {' and '.join(map(str, sorted(lengths)))} numbers")
    sides = {"prompt": prompt_texts(table), "response": table["response"].to_pylist()}
    texts = list(sides.values()) if compared.sides == "both" else [sides[compared.sides]]
    vectors = lists.flatten().to_numpy(zero_copy_only=False).astype(np.float16)
    return Embedded(
        alive=len(living),
        places=np.flatnonzero(there.to_numpy(zero_copy_only=False)),
        vectors=compared.vectors(vectors.reshape(len(table), lengths.pop() if lengths else 0)),
        claims=claim_keys(zip(*texts, strict=True)),
    )


def meaning_pairs(
    corpus: Corpus,
    text_of: I64,
    shards: Shards,
    *,
    compared: Compared,
    threshold: float,
    ctx: Context,
) -> Pairs:
    """Pairs of texts that say the same, by rows of theirs.

    Args:
        corpus: All alive rows.
        text_of: Per row its text.
        shards: Where they stand, with the column `embedding`.
        compared: What of them.
        threshold: Least cosine.
        ctx: Told how many rows have no vector.

    Raises:
        RunFailedError: Vectors are of several lengths.
    """
    rows: list[I64] = [np.zeros(0, np.int64)]

    def chunks() -> Iterator[tuple[F16, I64]]:
        looked = shards.map(
            partial(look, compared=compared),
            step="reading vectors",
            columns=("embedding", *TEXTS),
        )
        for number, each in enumerate(looked):
            start, _ = corpus.rows_of(number)
            rows.append(start + each.places)
            yield each.vectors, each.claims

    folder = shards.scratch / "semantic"
    folder.mkdir(exist_ok=True)
    try:
        found = similar_pairs(
            chunks(),
            threshold=threshold,
            neighbours=_NEIGHBOURS,
            scratch=folder,
            parts=compared.parts,
            spread=partial(shards.spread, step="comparing vectors"),
        )
    except ValueError as error:
        raise _uneven(str(error)) from error
    embedded = np.concatenate(rows)
    if without := len(corpus) - len(embedded):
        ctx.progress.note(
            f"dedup: {without:,} rows have no embedding (column embed_error) and are duplicates "
            "of equal content alone"
        )
    return _of_texts(text_of[embedded[found.first]], text_of[embedded[found.second]], found)


def _of_texts(first: I64, second: I64, found: Pairs) -> Pairs:
    """Pairs of rows as pairs of their texts, each once, by its most similar rows."""
    one, other = np.minimum(first, second), np.maximum(first, second)
    order = np.lexsort((-found.similarity, other, one))
    order = order[one[order] != other[order]]
    new = np.ones(len(order), bool)
    new[1:] = (np.diff(one[order]) != 0) | (np.diff(other[order]) != 0)
    kept = order[new]
    return Pairs(one[kept], other[kept], found.similarity[kept])


def _uneven(what: str) -> RunFailedError:
    return RunFailedError(
        f"dedup: embeddings {what} cannot be compared: the model of the role embedder changed "
        "during the run; delete the folder embed of the run directory and run the same command "
        "again"
    )
