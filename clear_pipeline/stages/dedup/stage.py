"""The dedup stage: which rows repeat an earlier row, exactly or nearly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import Field, model_validator

from clear_pipeline.schema import JSON
from clear_pipeline.stages.base import Context, Settings, Shard, Shards
from clear_pipeline.stages.dedup.candidates import banding
from clear_pipeline.stages.dedup.clusters import Edge, keepers
from clear_pipeline.stages.dedup.near import near_pairs
from clear_pipeline.stages.dedup.shingles import I64, Tokens, concatenate, tokenize

COLUMNS = pa.schema(
    [
        pa.field("duplicate_of", pa.string()),
        pa.field("duplicate_kind", pa.string()),
        pa.field("cluster", pa.string()),
        pa.field("similarity", pa.float64()),
    ]
)
"""`duplicate_of` = id of the row that stays; `duplicate_kind` = `exact` or `near`; `similarity` =
in [0, 1], the weakest verified pair on the way to that row. The three are null for rows that stay.
`cluster` = id of the row that stays, for every member including it; null for a row on its own."""

_START = 80
_EXAMPLES = 3


@dataclass(frozen=True, slots=True, eq=False)
class Summary:
    """What dedup must know of the alive rows of one shard.

    Attributes:
        alive: Positions of the alive rows; all further fields are aligned with it.
        table: id, file, content_hash, start (of the prompt and the response, for people).
        lengths: Characters of prompt and response.
        prompts: Words of all turns before the target, and of the tools; None for exact only.
        responses: Words of the response; None for exact only.
    """

    alive: I64
    table: pa.Table
    lengths: I64
    prompts: Tokens | None
    responses: Tokens | None


class Dedup(Settings):
    """Mark rows that repeat another row; one row of each cluster stays.

    Rows of equal content (`schema.content_hash`) are exact duplicates. Two rows are
    near-duplicates if their prompts and their responses each have a Jaccard similarity of at least
    `threshold` over word shingles, without the shingles that many rows share, and if both ask the
    same (`near.same_request`). Clusters are built from verified pairs alone.
    """

    name: ClassVar[str] = "dedup"
    version: ClassVar[int] = 1

    kind: Literal["dedup"] = "dedup"
    method: Literal["exact", "minhash"] = "minhash"
    """`exact`: equal content only. `minhash`: near-duplicates as well."""
    threshold: Annotated[float, Field(gt=0, le=1)] = 0.8
    """Least Jaccard similarity of near-duplicates, for the prompts and for the responses."""
    keep: Literal["first", "longest"] = "first"
    """Which row of a cluster stays: the first in input order, or the one with most characters in
    prompt and response (the first of equals)."""
    shingle_words: Annotated[int, Field(ge=1)] = 5
    """Words per shingle."""
    permutations: Annotated[int, Field(ge=1, le=1024)] = 128
    """Length of a MinHash signature. Bands are chosen from it and `threshold`."""
    common_shingle_fraction: Annotated[float, Field(gt=0, le=1)] = 0.01
    """Shingles that a larger share of the rows of one file have are no evidence, see `near`."""
    warn_fraction: Annotated[float, Field(ge=0, le=1)] = 0.2
    """A file that loses a larger share of its rows is reported with examples."""

    @model_validator(mode="after")
    def _bands_exist(self) -> Self:
        banding(self.threshold, self.permutations)
        return self

    def needs(self) -> tuple[str, ...]:
        """Nothing."""
        return ()

    def adds(self) -> pa.Schema:
        """See `COLUMNS`."""
        return COLUMNS

    def roles(self) -> tuple[str, ...]:
        """No model is called."""
        return ()

    def _summary(self, shard: Shard, alive: Sequence[bool]) -> Summary:
        """Hash the words of the alive rows."""
        positions = np.flatnonzero(np.asarray(alive, bool))
        table = shard.table.take(positions)
        prompts = _prompts(table)
        responses = table["response"].to_pylist()
        starts = [
            f"{p[:_START]!r} -> {r[:_START]!r}" for p, r in zip(prompts, responses, strict=True)
        ]
        near = self.method == "minhash"
        # An image cannot be compared by its words: such a row matches equal content only.
        words = [
            prompt if reason is None else content
            for prompt, reason, content in zip(
                prompts,
                table["unscorable"].to_pylist(),
                table["content_hash"].to_pylist(),
                strict=True,
            )
        ]
        return Summary(
            alive=positions,
            table=table.select(["id", "file", "content_hash"]).append_column(
                "start", pa.array(starts, pa.large_string())
            ),
            lengths=np.array(
                [len(p) + len(r) for p, r in zip(prompts, responses, strict=True)], np.int64
            ),
            prompts=tokenize(words) if near else None,
            responses=tokenize(responses) if near else None,
        )

    def survey(self, shards: Shards, ctx: Context) -> list[JSON]:
        """Per shard, the columns of those of its rows that are in a cluster.

        A state names only rows of its own shard and their keepers, so that it moves only when
        one of these does.
        """
        partials = list(shards.map(self._summary))
        rows = pa.concat_tables([p.table for p in partials]) if partials else None
        if rows is None or rows.num_rows == 0:
            return [None] * len(partials)
        contents = np.array(rows["content_hash"].to_pylist(), "S")
        _, first, content_of = np.unique(contents, return_index=True, return_inverse=True)
        edges = self._edges(partials, rows, first, content_of)
        lengths = np.concatenate([p.lengths for p in partials])
        rank = np.arange(len(content_of))
        if self.keep == "longest":
            rank[np.lexsort((rank, -lengths))] = np.arange(len(rank))
        keeper, similarity = keepers(content_of, edges, rank)
        self._warn(rows, keeper, ctx)
        exact = content_of[keeper] == content_of
        return _states(partials, keeper, similarity, exact, rows["id"].to_pylist())

    def _edges(
        self, partials: Sequence[Summary], rows: pa.Table, first: I64, content_of: I64
    ) -> list[Edge]:
        """Verified pairs of contents."""
        prompts = [p.prompts for p in partials if p.prompts is not None]
        responses = [p.responses for p in partials if p.responses is not None]
        if not prompts:
            return []
        prompt, response = concatenate(prompts).take(first), concatenate(responses).take(first)
        # Contents of equal words differ in case or punctuation alone; one of them stands for all.
        words = np.stack([prompt.whole(), response.whole()])
        _, chosen, text_of = np.unique(words, axis=1, return_index=True, return_inverse=True)
        edges: list[Edge] = [
            (int(chosen[text]), content, 1.0)
            for content, text in enumerate(text_of)
            if chosen[text] != content
        ]
        files = rows["file"].combine_chunks().dictionary_encode().indices.to_numpy()
        per_file = np.unique(np.stack([files, text_of[content_of]]), axis=1)
        pairs = near_pairs(
            prompt.take(chosen),
            response.take(chosen),
            np.split(per_file[1], np.flatnonzero(np.diff(per_file[0])) + 1),
            threshold=self.threshold,
            shingle_words=self.shingle_words,
            permutations=self.permutations,
            common_fraction=self.common_shingle_fraction,
        )
        edges += [(int(chosen[one]), int(chosen[other]), value) for one, other, value in pairs]
        return edges

    def _warn(self, rows: pa.Table, keeper: I64, ctx: Context) -> None:
        files, file_of = np.unique(rows["file"].to_pylist(), return_inverse=True)
        removed = keeper != np.arange(len(keeper))
        totals = np.bincount(file_of)
        lost = np.bincount(file_of[removed], minlength=len(files))
        for file in np.flatnonzero(lost > self.warn_fraction * totals):
            repeats = np.flatnonzero(removed & (file_of == file))[:_EXAMPLES]
            pairs = zip(
                rows.take(repeats).to_pylist(), rows.take(keeper[repeats]).to_pylist(), strict=True
            )
            ctx.progress.note(
                f"dedup: {files[file]} loses {lost[file]} of {totals[file]} rows "
                f"({lost[file] / totals[file]:.0%}) as duplicates, for example"
                + "".join(
                    f"\n  {row['id']} repeats {kept['id']}:"
                    f"\n    {row['start']}\n    {kept['start']}"
                    for row, kept in pairs
                )
            )

    async def annotate(
        self,
        shard: Shard,
        alive: Sequence[bool],  # noqa: ARG002 - dead rows are in no state
        state: JSON,
        ctx: Context,  # noqa: ARG002 - `survey` has reported
    ) -> pa.Table:
        """Put this shard's part of the clusters into columns."""
        columns: dict[str, list[Any]] = {name: [None] * shard.rows for name in COLUMNS.names}
        if isinstance(state, dict):
            for name, column in columns.items():
                for row, value in zip(state["rows"], state[name], strict=True):
                    column[row] = value
        return pa.table(columns, schema=COLUMNS)


def _prompts(table: pa.Table) -> list[str]:
    """Texts of all turns and the tools, a line each."""
    turns = table["messages"].combine_chunks()
    contents, calls = (turns.flatten().field(n).to_pylist() for n in ("content", "tool_calls"))
    ends = np.cumsum(pc.list_value_length(turns).to_numpy()).tolist()
    return [
        "\n".join(filter(None, chain(*zip(contents[a:b], calls[a:b], strict=True), (tools,))))
        for a, b, tools in zip([0, *ends], ends, table["tools"].to_pylist(), strict=False)
    ]


def _states(
    partials: Sequence[Summary],
    keeper: I64,
    similarity: NDArray[np.float64],
    exact: NDArray[np.bool_],
    ids: Sequence[str],
) -> list[JSON]:
    """Per shard the positions of its rows that are in a cluster, and the columns at these."""
    stays = keeper == np.arange(len(keeper))
    clustered = np.isin(keeper, keeper[~stays])
    ends = np.cumsum([len(p.alive) for p in partials])
    states: list[JSON] = []
    for partial, end in zip(partials, ends, strict=True):
        start = end - len(partial.alive)
        members = (np.flatnonzero(clustered[start:end]) + start).tolist()
        cluster = [ids[keeper[m]] for m in members]
        states.append(
            {
                "rows": [int(partial.alive[m - start]) for m in members],
                "duplicate_of": [
                    None if stays[m] else c for m, c in zip(members, cluster, strict=True)
                ],
                "duplicate_kind": [
                    None if stays[m] else "exact" if exact[m] else "near" for m in members
                ],
                "cluster": cluster,
                "similarity": [None if stays[m] else float(similarity[m]) for m in members],
            }
        )
    return states
