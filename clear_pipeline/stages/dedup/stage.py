"""The dedup stage: which rows repeat an earlier row, exactly or nearly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from functools import cached_property, partial
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal, Self

import numpy as np
import pyarrow as pa
from pydantic import BeforeValidator, Field, model_validator

from clear_pipeline.schema import JSON
from clear_pipeline.stages.base import Context, Settings, Shard, Shards
from clear_pipeline.stages.dedup.candidates import banding
from clear_pipeline.stages.dedup.characters import Unit
from clear_pipeline.stages.dedup.clusters import Pairs, keepers
from clear_pipeline.stages.dedup.corpus import COMPARED, Corpus, look, prompt_texts
from clear_pipeline.stages.dedup.found import COLUMNS, Found, States, columns, conflicts
from clear_pipeline.stages.dedup.kept import KeptIndex
from clear_pipeline.stages.dedup.meaning import Compared, meaning_pairs
from clear_pipeline.stages.dedup.near import Compare, Likeness, Texts, grouped, near_pairs
from clear_pipeline.stages.dedup.words import I64

_START: Final = 80
_COSINE: Final = 0.95
"""Least cosine by default, see benchmarks/results/semantic.md."""
_EXAMPLES: Final = 3
_FILES_TOLD: Final = 5


def _listed(value: object) -> object:
    """One path may stand without a list around it."""
    return [str(value)] if isinstance(value, str | Path) else value


class Dedup(Settings):
    """Mark rows that repeat another row; one row of each cluster stays.

    Rows of equal content (`schema.content_hash`) are exact duplicates. Two rows are
    near-duplicates if their prompts and their responses each have a Jaccard similarity of at least
    `threshold` over word shingles, without the shingles that many rows share, and if both ask the
    same (`alike.same_request`); or, with `method: semantic`, if their embeddings each have a cosine
    of at least `threshold` and both claim the same (`claims`). Clusters are built from verified
    pairs alone.
    """

    name: ClassVar[str] = "dedup"
    version: ClassVar[int] = 3

    kind: Literal["dedup"] = "dedup"
    method: Literal["exact", "minhash", "semantic"] = "minhash"
    """`exact`: equal content only. `minhash`: near-duplicates as well. `semantic`: rows of nearly
    the same embedding as well, which the stage `embed` adds."""
    compare: Compare = "both"
    """What must be alike: the prompts, the responses, or each of them."""
    threshold: Annotated[float, Field(gt=0, le=1)] = 0.8
    """Least Jaccard similarity of near-duplicates, or least cosine of their embeddings, for each
    side that is compared; 0.95 for `semantic`, if it is not set."""
    keep: Literal["first", "longest"] = "first"
    """Which row of a cluster stays: the first in input order, or the one with most characters in
    prompt and response (the first of equals)."""
    priority: tuple[str, ...] = ()
    """Patterns of files, the most valued first (`*` matches `/` too): a row of theirs stays before
    rows of later patterns and of other files, whatever `keep` says."""
    unit: Unit = "word"
    """What a shingle is a run of: words, or single letters and digits. In scripts without spaces
    a character is a word in any case."""
    ngram: Annotated[int, Field(ge=1, le=64)] = 5
    """Words, or characters, per shingle."""
    permutations: Annotated[int, Field(ge=1, le=1024)] = 128
    """Length of a MinHash signature. Bands are chosen from it and `threshold`."""
    common_shingle_fraction: Annotated[float, Field(gt=0, le=1)] = 0.01
    """Shingles that a larger share of the rows of one file have are no evidence, see `common`."""
    against: Annotated[tuple[str, ...], BeforeValidator(_listed)] = ()
    """Index files of earlier runs (`clear-pipeline index`): a row that repeats one of theirs goes,
    whatever `priority` and `keep` say. Their content enters the fingerprint."""
    warn_fraction: Annotated[float, Field(ge=0, le=1)] = 0.2
    """A file that loses a larger share of its rows is reported with examples."""

    @model_validator(mode="before")
    @classmethod
    def _threshold_suits_the_method(cls, data: Any) -> Any:  # noqa: ANN401 - what pydantic hands over
        if isinstance(data, Mapping) and data.get("method") == "semantic":
            return {"threshold": _COSINE, **data}
        return data

    @model_validator(mode="after")
    def _can_compare(self) -> Self:
        banding(self.threshold, self.permutations)
        if self.against and self.method == "semantic":
            raise ValueError("an index holds no embeddings: method minhash or exact, or no against")
        return self

    @cached_property
    def indexes(self) -> tuple[KeptIndex, ...]:
        """The files of `against`, in the order of their names.

        Raises:
            UsageError: One is not there, or no index that fits.
        """
        found = (KeptIndex.open(Path(path).expanduser(), self.unit) for path in self.against)
        return tuple(sorted(found, key=lambda index: (index.name, index.sha256)))

    def require_files(self) -> None:
        """Look at the files of `against` anew, so that what is wrong is known before any work.

        Raises:
            UsageError: As `indexes`.
        """
        self.__dict__.pop("indexes", None)
        _ = self.indexes

    def identity(self) -> dict[str, JSON]:
        """The settings, with names and SHA-256 of the index files in place of their paths."""
        kept: JSON = [[index.name, index.sha256] for index in self.indexes]
        return {**super().identity(), "against": kept}

    def needs(self) -> tuple[str, ...]:
        """Embeddings, if they are compared."""
        return ("embedding",) if self.method == "semantic" else ()

    def adds(self) -> pa.Schema:
        """See `found.COLUMNS`."""
        return COLUMNS

    def roles(self) -> tuple[str, ...]:
        """No model is called."""
        return ()

    def reads(self) -> tuple[str, ...]:
        """None: the state says all."""
        return ()

    def survey(self, shards: Shards, ctx: Context) -> Sequence[JSON]:
        """Per shard, the columns of those of its rows that are in a cluster or in a conflict."""
        corpus = Corpus(shards.scratch)
        for index in self.indexes:
            for looked in index.rows():
                corpus.refer(looked, index.name)
        reading = shards.map(partial(look, unit=self.unit), step="reading", columns=COMPARED)
        for looked in reading:
            corpus.append(looked)
        corpus.complete()
        found = self._found(corpus, shards, ctx)
        self._tell(corpus, found, shards, ctx)
        return States(corpus, found)

    def _found(self, corpus: Corpus, shards: Shards, ctx: Context) -> Found:
        _, content_of = grouped(*corpus.content())
        if self.method == "exact":
            text_of, pairs = content_of, Pairs.none()
        elif self.method == "semantic":
            text_of = content_of
            pairs = meaning_pairs(
                corpus,
                content_of,
                shards,
                compared=Compared.of(self.compare, ctx),
                threshold=self.threshold,
                ctx=ctx,
            )
        else:
            texts = Texts.of(corpus, self.compare)
            text_of, pairs = texts.text_of, near_pairs(texts, shards, self._likeness())
        keeper, similarity = keepers(text_of, pairs, self._rank(corpus))
        # Where responses are not compared, rows of a cluster may answer differently.
        answers = corpus.response_words() if self.compare == "prompt" else keeper
        return Found(
            keeper=keeper,
            similarity=similarity,
            exact=content_of[keeper] == content_of,
            conflict=conflicts(corpus.prompt_words(), answers),
        )

    def _likeness(self) -> Likeness:
        return Likeness(
            self.compare,
            self.threshold,
            self.ngram,
            self.permutations,
            self.common_shingle_fraction,
        )

    def _rank(self, corpus: Corpus) -> I64:
        """Per row its place in the order of preference."""
        levels = [self._level(name) for name in corpus.file_names]
        rank = np.arange(len(corpus))
        keys = [np.array(levels, np.int64)[corpus.files()]] if self.priority else []
        if self.keep == "longest":
            keys.insert(0, -corpus.characters())
        if keys and corpus.referred:
            keys.append((rank >= corpus.referred).astype(np.int64))
        if keys:
            rank[np.lexsort((rank, *keys))] = np.arange(len(corpus))
        return rank

    def _level(self, file: str) -> int:
        fitting = (n for n, pattern in enumerate(self.priority) if fnmatchcase(file, pattern))
        return next(fitting, len(self.priority))

    def _tell(self, corpus: Corpus, found: Found, shards: Shards, ctx: Context) -> None:
        if self.method == "minhash" and (short := self._short(corpus)):
            ctx.progress.note(
                f"dedup: {short:,} rows have a text of fewer than {self.ngram} {self.unit}s; "
                "such texts are duplicates of equal texts alone"
            )
        conflict = found.conflict[corpus.referred :]
        if many := int((conflict >= 0).sum()):
            prompts = len(np.unique(conflict[conflict >= 0]))
            ctx.progress.note(
                f"dedup: {prompts:,} prompts have different answers ({many:,} rows, column "
                "conflict); at most one of the answers may be right"
            )
        self._warn(corpus, found, shards, ctx)

    def _short(self, corpus: Corpus) -> int:
        """Rows of which a compared text is shorter than a shingle."""
        rows = np.arange(corpus.referred, len(corpus))
        short = np.zeros(len(rows), bool)
        for side in ("prompt", "response"):
            if self.compare in (side, "both"):
                words = corpus.prompts if side == "prompt" else corpus.responses
                short |= words.lengths(rows) < self.ngram
        return int(short.sum())

    def _warn(self, corpus: Corpus, found: Found, shards: Shards, ctx: Context) -> None:
        files, removed = corpus.files(), found.removed
        removed[: corpus.referred] = False
        totals = np.bincount(files, minlength=len(corpus.file_names))
        lost = np.bincount(files[removed], minlength=len(corpus.file_names))
        warned = np.flatnonzero(lost > self.warn_fraction * totals)
        for file in warned[:_FILES_TOLD].tolist():
            repeats = np.flatnonzero(removed & (files == file))[:_EXAMPLES]
            ctx.progress.note(
                f"dedup: {corpus.file_names[file]} loses {lost[file]} of {totals[file]} rows "
                f"({lost[file] / totals[file]:.0%}) as duplicates, for example"
                + "".join(
                    f"\n  {one} repeats {other}:\n    {text}\n    {kept}"
                    for one, other, text, kept in zip(
                        corpus.ids(repeats),
                        corpus.ids(found.keeper[repeats]),
                        _starts(corpus, repeats, shards),
                        _starts(corpus, found.keeper[repeats], shards),
                        strict=True,
                    )
                )
            )
        if len(warned) > _FILES_TOLD:
            ctx.progress.note(
                f"dedup: {len(warned) - _FILES_TOLD} further files lose more than "
                f"{self.warn_fraction:.0%} of their rows as duplicates"
            )

    async def annotate(
        self,
        shard: Shard,
        alive: Sequence[bool],  # noqa: ARG002 - dead rows are in no state
        state: JSON,
        ctx: Context,
    ) -> pa.Table:
        """Put this shard's part of the clusters into columns."""
        ctx.progress.advance(shard.rows)
        return columns(shard.rows, state)


def _starts(corpus: Corpus, rows: I64, shards: Shards) -> list[str]:
    """The beginnings of the texts of some rows, for people."""
    found = []
    for row in rows.tolist():
        if row < corpus.referred:
            found.append("(of an earlier run; an index holds no text)")
            continue
        number, position = corpus.place_of(row)
        table = shards.shard(number).table.slice(position, 1)
        [prompt], [response] = prompt_texts(table), table["response"].to_pylist()
        found.append(f"{prompt[:_START]!r} -> {response[:_START]!r}")
    return found
