"""The rows of one shard against all benchmarks: suspects in bulk by hashes, each hit by words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from clear_pipeline.schema import Role
from clear_pipeline.stages.decontaminate.index import Index
from clear_pipeline.stages.decontaminate.verify import Passage, Verified
from clear_pipeline.stages.dedup.words import I64, tokenize

Side: TypeAlias = Literal["prompt", "response", "both"]


@dataclass(frozen=True, slots=True, eq=False)
class RowTexts:
    """The texts of rows, those of a row one after the other.

    Attributes:
        texts: Turns before the target, their tool calls, and the response.
        rows: To which row each belongs, ascending.
        asked: Whether it is a turn of the user.
    """

    texts: list[str]
    rows: I64
    asked: NDArray[np.bool_]

    @classmethod
    def of(cls, table: pa.Table, side: Side) -> RowTexts:
        """Those of all rows of a table of schema `ROWS`, of the sides that are compared."""
        columns: list[tuple[pa.Array, I64, NDArray[np.bool_]]] = []
        if side != "response":
            turns = table["messages"].combine_chunks()
            rows = np.repeat(np.arange(len(turns)), pc.list_value_length(turns).to_numpy())
            said = turns.flatten()
            asked = pc.equal(said.field("role"), Role.USER).to_numpy(zero_copy_only=False)
            columns.append((said.field("content"), rows, asked))
            columns.append((said.field("tool_calls"), rows, np.zeros(len(rows), bool)))
        if side != "prompt":
            count = table.num_rows
            response = table["response"].combine_chunks()
            columns.append((response, np.arange(count), np.zeros(count, bool)))
        texts = pa.concat_arrays([column for column, _, _ in columns])
        rows, asked = (np.concatenate([column[n] for column in columns]) for n in (1, 2))
        order = np.argsort(rows, kind="stable")
        order = order[pc.is_valid(texts).to_numpy(zero_copy_only=False)[order]]
        return cls(texts.take(pa.array(order)).to_pylist(), rows[order], asked[order])

    def of_row(self, row: int) -> list[str]:
        """The texts of one row."""
        start, end = np.searchsorted(self.rows, [row, row + 1])
        return self.texts[start:end]


@dataclass(frozen=True, slots=True)
class Hit:
    """A row that overlaps too much with a text of a benchmark."""

    row: int
    text: int
    verified: Verified


def search(
    given: RowTexts, benchmark: Sequence[str], index: Index, *, min_coverage: float
) -> tuple[I64, NDArray[np.float64], list[Hit]]:
    """Find the rows that share n-grams with the texts of benchmarks.

    Args:
        given: Texts of rows.
        benchmark: Texts of benchmarks.
        index: Of these texts.
        min_coverage: Share of a text's n-grams that is too much.

    Returns:
        Rows that share some, ascending; of each the largest share, in (0, 1]; and the hits, at most
        one a row, in row order: of the texts that a row covers enough of, the one with the largest
        share, the first of equals. The share of a hit is counted in words, others in hashes.
    """
    rows, texts, shares = _suspects(given, index)
    strong = np.flatnonzero(shares >= min_coverage)
    order = strong[np.lexsort((texts[strong], -shares[strong], rows[strong]))]
    passages: dict[int, Passage] = {}
    hits: list[Hit] = []
    for at, row, text in zip(
        order.tolist(), rows[order].tolist(), texts[order].tolist(), strict=True
    ):
        if hits and hits[-1].row == row:
            continue
        passage = passages.get(text) or passages.setdefault(
            text, Passage.of(benchmark[text], index)
        )
        verified = passage.compare(given.of_row(row), index.width)
        shares[at] = verified.share
        if verified.share >= min_coverage:
            hits.append(Hit(row, text, verified))
    best = np.zeros(int(rows.max(initial=-1)) + 1)
    np.maximum.at(best, rows, shares)
    sharing = np.flatnonzero(best)
    return sharing, best[sharing], hits


def _suspects(given: RowTexts, index: Index) -> tuple[I64, I64, NDArray[np.float64]]:
    """Rows, texts of benchmarks, and the share that they have in common, by hashes."""
    tokens = tokenize(given.texts)
    overlaps = index.overlaps(tokens, given.rows)
    mine, copied = index.copies(tokens)
    # A short text is the same as many an answer: only a question that is the same is a copy.
    counts = given.asked[mine] | (index.lengths[copied] >= index.width)
    mine, copied = mine[counts], copied[counts]
    return (
        np.concatenate([overlaps.rows, given.rows[mine]]),
        np.concatenate([overlaps.texts, copied]),
        np.concatenate([overlaps.shares, np.ones(len(mine))]),
    )
