"""What dedup finds about rows, and how each shard hears of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from clear_pipeline.schema import JSON
from clear_pipeline.stages.dedup.corpus import Corpus
from clear_pipeline.stages.dedup.words import I64, U64, Bools, tokenize

COLUMNS = pa.schema(
    [
        pa.field("duplicate_of", pa.string()),
        pa.field("duplicate_kind", pa.string()),
        pa.field("cluster", pa.string()),
        pa.field("similarity", pa.float64()),
        pa.field("conflict", pa.string()),
    ]
)
"""`duplicate_of` = id of the row that stays; `duplicate_kind` = `exact` or `near`; `similarity` =
in [0, 1], the weakest verified pair on the way to that row. The three are null for rows that stay.
`cluster` = id of the row that stays, for every member including it; null for a row on its own.
`conflict` = id of the first row with the same prompt, where not all of these rows answer alike."""


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """Per row of a corpus.

    Attributes:
        keeper: The row that stays in its place; itself, if it stays.
        similarity: In [0, 1], to the keeper.
        exact: Whether its content is the keeper's.
        conflict: The first row with the same prompt, if these rows answer differently; else -1.
    """

    keeper: I64
    similarity: NDArray[np.float64]
    exact: Bools
    conflict: I64

    @property
    def removed(self) -> Bools:
        """Whether another row stays in its place."""
        removed: Bools = self.keeper != np.arange(len(self.keeper))
        return removed


def conflicts(prompts: U64, answers: U64 | I64) -> I64:
    """Per row the first row with its prompt, if not all of these give the same answer; else -1.

    A prompt without text asks nothing and is in no conflict.

    Args:
        prompts: A hash per row, equal for prompts of equal words.
        answers: A number per row, equal for answers that are alike.
    """
    if len(prompts) == 0:
        return np.zeros(0, np.int64)
    order = np.lexsort((answers, prompts))
    prompts, answers = prompts[order], answers[order]
    new = np.ones(len(order), bool)
    new[1:] = prompts[1:] != prompts[:-1]
    starts = np.flatnonzero(new)
    group = np.cumsum(new) - 1
    ends = np.append(starts[1:], len(order)) - 1
    differ = answers[starts] != answers[ends]
    differ &= prompts[starts] != tokenize([""]).whole()[0]
    found = np.full(len(order), -1)
    first = np.minimum.reduceat(order, starts)
    found[order] = np.where(differ[group], first[group], -1)
    return found


class States(Sequence[JSON]):
    """Per shard its rows that dedup has something to say of, and what; made when asked for.

    A state names only rows of its own shard and those that they refer to, so that it moves only
    when one of these does.

    Args:
        corpus: All rows.
        found: About them.
    """

    def __init__(self, corpus: Corpus, found: Found) -> None:
        self._corpus = corpus
        self._found = found
        self._clustered = np.zeros(len(found.keeper), bool)
        removed = found.removed
        self._clustered[found.keeper[removed]] = True
        self._clustered |= removed

    def __len__(self) -> int:
        return self._corpus.shards

    @overload
    def __getitem__(self, index: int) -> JSON: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[JSON]: ...

    def __getitem__(self, index: int | slice) -> JSON | Sequence[JSON]:
        if isinstance(index, slice):
            return [self[each] for each in range(len(self))[index]]
        if not 0 <= index < len(self):
            raise IndexError(index)
        return self._state(*self._corpus.rows_of(index))

    def _state(self, start: int, stop: int) -> JSON:
        found = self._found
        told = self._clustered[start:stop] | (found.conflict[start:stop] >= 0)
        rows = np.flatnonzero(told) + start
        stays = (found.keeper[rows] == rows).tolist()
        clustered = self._clustered[rows].tolist()
        keepers = self._corpus.ids(found.keeper[rows])
        conflict = found.conflict[rows]
        in_conflict = conflict >= 0
        first = iter(self._corpus.ids(conflict[in_conflict]))
        exact, similarity = found.exact[rows].tolist(), found.similarity[rows].tolist()
        return {
            "rows": self._corpus.positions(start, stop)[rows - start].tolist(),
            "duplicate_of": [None if s else k for s, k in zip(stays, keepers, strict=True)],
            "duplicate_kind": [
                None if s else "exact" if e else "near" for s, e in zip(stays, exact, strict=True)
            ],
            "cluster": [k if c else None for c, k in zip(clustered, keepers, strict=True)],
            "similarity": [None if s else v for s, v in zip(stays, similarity, strict=True)],
            "conflict": [next(first) if differs else None for differs in in_conflict.tolist()],
        }


def columns(rows: int, state: JSON) -> pa.Table:
    """A shard's state as columns of all its rows."""
    if not isinstance(state, dict) or not state["rows"]:
        return pa.table([pa.nulls(rows, field.type) for field in COLUMNS], schema=COLUMNS)
    places = np.full(rows, -1)
    places[np.asarray(state["rows"])] = np.arange(len(state["rows"]))
    indices = pa.array(places, mask=places < 0)
    arrays = [pa.array(state[field.name], field.type).take(indices) for field in COLUMNS]
    return pa.table(arrays, schema=COLUMNS)
