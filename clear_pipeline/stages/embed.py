"""Embed: a vector per row, for stages that compare rows by what they mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field

from clear_pipeline.errors import CallError
from clear_pipeline.llm.base import ChatModel
from clear_pipeline.llm.counted import Counted
from clear_pipeline.schema import JSON, Example, examples, working
from clear_pipeline.scoring.embedding import embedding
from clear_pipeline.scoring.passages import windows
from clear_pipeline.scoring.word_vectors import load_word_vectors
from clear_pipeline.stages.base import Context, Settings, Shard, map_rows
from clear_pipeline.stages.sampling import Fraction
from clear_pipeline.stages.usage import USAGE, usage_of

F64 = npt.NDArray[np.float64]

COLUMNS = pa.schema(
    [
        working(pa.field("embedding", pa.list_(pa.float16()))),
        pa.field("embed_error", pa.large_string()),
        pa.field("embed_usage", USAGE),
    ]
)
"""`embedding` has length 1. It is null for dead rows, and where `embed_error` says why."""

NO_TEXT = "no text to embed"


@dataclass(slots=True)
class RowEmbedding:
    """The columns of one row."""

    embedding: npt.NDArray[np.float16] | None = None
    embed_error: str | None = None
    embed_usage: dict[str, int] | None = None


class Embed(Settings):
    """Add the embedding of each row, of the model in the package or of an endpoint.

    With `text: both` it is the prompt's vector followed by the response's, both of equal weight:
    the cosine of two rows is then the mean of the cosines of their prompts and of their responses.
    A vector of the joined text would be that of the longer one of the two.
    """

    name: ClassVar[str] = "embed"
    version: ClassVar[int] = 1

    kind: Literal["embed"] = "embed"
    text: Literal["both", "prompt", "response"] = "both"
    """What of the row; the prompt is all turns before the target, and the tools."""
    via: Literal["local", "endpoint"] = "local"
    """`local`: word vectors from a package, extra `semantic`. `endpoint`: the model of the role
    `embedder`."""
    passage_chars: Annotated[int, Field(ge=100)] = 1000
    """With `via: endpoint`, a longer text is embedded in passages of so many characters at most,
    and the vector is their mean, each by its length. The model's window must take a passage."""
    max_failed_fraction: Fraction = 0.05
    """A run stops when more of its rows than this have failed."""

    def needs(self) -> tuple[str, ...]:
        """Nothing beyond the rows."""
        return ()

    def adds(self) -> pa.Schema:
        """`COLUMNS`."""
        return COLUMNS

    def roles(self) -> tuple[str, ...]:
        """The model that embeds, if it is an endpoint's."""
        return ("embedder",) if self.via == "endpoint" else ()

    def rounds(self, models: Mapping[str, ChatModel]) -> int:  # noqa: ARG002
        """None: embeddings are asked for live in every mode."""
        return 0

    async def annotate(
        self,
        shard: Shard,
        alive: Sequence[bool],
        state: JSON,  # noqa: ARG002 - a row-wise stage has none
        ctx: Context,
    ) -> pa.Table:
        """Embed the rows that are alive.

        Raises:
            MissingExtraError: `via: local` without the extra.
            TooManyFailuresError: More rows failed than `max_failed_fraction` allows.
        """
        rows = list(zip(examples(shard.table), alive, strict=True))
        if self.via == "local":
            found = self._local(rows, ctx)
        else:

            async def ask(row: tuple[Example, bool]) -> RowEmbedding:
                embedded = await self._ask(*row, ctx)
                ctx.progress.advance()
                return embedded

            found = await map_rows(ask, rows, limit=ctx.rows_in_flight)
        return pa.Table.from_pylist([asdict(row) for row in found], schema=COLUMNS)

    def _texts(self, example: Example) -> list[str]:
        """What is embedded of a row, each by itself."""
        turns = (turn.text for turn in example.messages)
        prompt = "\n".join(filter(None, (*turns, example.tools)))
        return {
            "both": [prompt, example.response],
            "prompt": [prompt],
            "response": [example.response],
        }[self.text]

    def _local(self, rows: Sequence[tuple[Example, bool]], ctx: Context) -> list[RowEmbedding]:
        embedded = [lives and example.unscorable is None for example, lives in rows]
        texts = [
            text
            for (example, _), wanted in zip(rows, embedded, strict=True)
            if wanted
            for text in self._texts(example)
        ]
        means = load_word_vectors().means(texts).astype(np.float64) if texts else np.empty((0, 1))
        each = len(texts) // max(1, sum(embedded))
        parts = iter(means.reshape(sum(embedded), each, means.shape[1]))
        found = [
            _row(next(parts)) if wanted else _left_out(example, lives=lives)
            for (example, lives), wanted in zip(rows, embedded, strict=True)
        ]
        ctx.progress.advance(len(rows))
        return found

    async def _ask(self, example: Example, lives: bool, ctx: Context) -> RowEmbedding:  # noqa: FBT001
        if not lives or example.unscorable is not None:
            return _left_out(example, lives=lives)
        ctx.tally.begun += 1
        model = Counted(ctx.models["embedder"])
        try:
            parts = _aligned([await self._mean(model, text) for text in self._texts(example)])
        except CallError as error:
            ctx.tally.fail(self.name, str(error), self.max_failed_fraction, kind=error.kind)
            return RowEmbedding(embed_error=str(error), embed_usage=usage_of(model))
        row = _row(parts)
        row.embed_usage = usage_of(model)
        return row

    async def _mean(self, model: ChatModel, text: str) -> F64:
        """The mean of a text's passages; empty for a text without any."""
        parts = windows(text, self.passage_chars)
        if not parts:
            return np.empty(0)

        async def ask(part: str) -> list[float]:
            return await embedding(model, part)

        found = await map_rows(ask, parts, limit=len(parts))
        vectors = [_unit(vector) for vector in _aligned([np.array(each) for each in found])]
        mean: F64 = np.average(vectors, axis=0, weights=[len(part) for part in parts])
        return mean


def _aligned(vectors: Sequence[F64]) -> F64:
    """Vectors as the rows of an array; an empty one is zeros.

    Raises:
        CallError: `bad_reply`: they differ in length.
    """
    lengths = {len(vector) for vector in vectors if len(vector)}
    if len(lengths) > 1:
        raise CallError("bad_reply", "embeddings of different lengths", transient=False)
    zeros = np.zeros(max(lengths, default=1))
    return np.array([vector if len(vector) else zeros for vector in vectors])


def _left_out(example: Example, *, lives: bool) -> RowEmbedding:
    return RowEmbedding(embed_error=example.unscorable if lives else None)


def _row(parts: F64) -> RowEmbedding:
    """A row's vector of the vectors of its texts, one after the other; length 1."""
    vector = _unit(np.concatenate([_unit(part) for part in parts]))
    if not vector.any():
        return RowEmbedding(embed_error=NO_TEXT)
    return RowEmbedding(embedding=vector.astype(np.float16))


def _unit(vector: F64) -> F64:
    """The vector with length 1; a zero vector, which has no direction, stays zero."""
    length = float(np.linalg.norm(vector))
    unit: F64 = vector / length if length > 0 else vector
    return unit
