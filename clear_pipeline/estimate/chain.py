"""The stages of a run, rehearsed on a sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from itertools import pairwise
from typing import Any, Final, Literal

import pyarrow as pa

from clear_pipeline.config import EMBEDDER
from clear_pipeline.estimate.rehearsal import Asked, Rehearsal
from clear_pipeline.llm.answers import Answers
from clear_pipeline.manifest import StageRecord
from clear_pipeline.model_pool import Endpoint
from clear_pipeline.resume import settings_of
from clear_pipeline.stages.base import (
    Context,
    DatasetStage,
    Shard,
    SilentProgress,
    Stage,
    alive_rows,
)
from clear_pipeline.stages.filter import AboveMedian, Count, Filter, Keep, Quantile
from clear_pipeline.stages.held import surveyed

End = Literal["low", "high"]
"""The cheap end of what may come, or the costly one."""
ENDS: Final[tuple[End, End]] = ("low", "high")

ByRow = dict[tuple[str, str], list[list[Asked]]]
"""By stage and role: the calls about each row, in the order of the rows."""

_EASED: Final[Mapping[str, Any]] = {"max_failed_fraction": 1.0, "keep": AboveMedian()}
"""Of every stage that has it: no row of a rehearsal fails for good, and where a threshold lies is
not known yet, while a band around the median holds as many rows."""
_COSTLY: Final[Mapping[str, Any]] = {"keep_form": ()}
"""At the costly end: no candidate is refused for its form, so that each is judged."""


async def rehearse(
    stages: Sequence[Stage],
    table: pa.Table,
    endpoints: Mapping[str, Endpoint],
    *,
    end: End = "low",
    total: int = 0,
    answers: Answers | None = None,
) -> ByRow:
    """Let the stages ask about the rows of `table`, and note what.

    Args:
        stages: Those left to run, in order.
        table: Rows that are alive, with the columns of earlier stages.
        endpoints: By role.
        end: How much the model writes, and how many rows a filter of unknown effect drops.
        total: Rows that the sample stands for.
        answers: Answered before; such calls come back with their usage.
    """
    found: ByRow = {}
    if table.num_rows == 0:
        return found
    texts = [text for text in table["response"].to_pylist() if text]
    records: dict[str, StageRecord] = {}
    for stage in stages:
        if isinstance(stage, Filter):
            table = _filtered(table, stage.keep, end=end, total=total)
        if not stage.roles():
            continue
        models = {
            role: Rehearsal(
                endpoints[role].identity,
                endpoints[role].capabilities,
                texts=texts,
                costly=end == "high",
                embeds=role == EMBEDDER,
                answers=answers,
            )
            for role in stage.roles()
        }
        rows = _Rows(models)
        ctx = Context(models=models, progress=rows, rows_in_flight=1, records=records)
        table = await run_stage(eased(stage, costly=end == "high"), table, ctx)
        for role in models:
            found[stage.name, role] = rows.calls(role)
        records[stage.name] = StageRecord(
            kind=stage.name, version=stage.version, settings=settings_of(stage)
        )
    return found


class _Rows(SilentProgress):
    """Notes where the calls about one row end: rows are worked on one after the other."""

    def __init__(self, models: Mapping[str, Rehearsal]) -> None:
        super().__init__()
        self._models = models
        self._ends = {role: [0] for role in models}

    def advance(self, rows: int = 1) -> None:  # noqa: ARG002 -- it is always one
        for role, model in self._models.items():
            self._ends[role].append(len(model.asked))

    def calls(self, role: str) -> list[list[Asked]]:
        """What a role's model was asked, row by row."""
        asked = self._models[role].asked
        return [asked[start:stop] for start, stop in pairwise(self._ends[role])]


async def run_stage(stage: Stage, table: pa.Table, ctx: Context) -> pa.Table:
    """`table` with the columns of the stage, as if it were all rows."""
    shard = Shard("sample", table)
    alive = alive_rows(table)
    state = None
    if isinstance(stage, DatasetStage):
        (state,) = surveyed(stage, [(shard, alive)], ctx)
    columns = await stage.annotate(shard, alive, state, ctx)
    for name in columns.column_names:
        if name in table.column_names:  # from an earlier run of the stage
            table = table.drop_columns([name])
        table = table.append_column(columns.schema.field(name), columns[name])
    return table


def eased(stage: Stage, *, costly: bool = False) -> Stage:
    """The stage as it can run on a sample, see `_EASED`; it asks what it would ask, or most."""
    if isinstance(stage, Filter) or not hasattr(stage, "model_copy"):
        return stage
    fields = type(stage).model_fields  # type: ignore[attr-defined]
    wanted = {**_EASED, **_COSTLY} if costly else _EASED
    eased = {name: value for name, value in wanted.items() if name in fields}
    if getattr(stage, "similarity", None) == "nli":
        eased["similarity"] = "lexical"  # asks no model either, and needs no weights
    copy: Stage = stage.model_copy(update=eased)
    return copy


def _filtered(table: pa.Table, keep: Keep, *, end: End, total: int) -> pa.Table:
    """The column `keep`, as if every n-th row were dropped."""
    if "keep" in table.column_names:
        return table
    share = _dropped(keep, end=end, total=total)
    rows = range(table.num_rows)
    kept = [int((row + 1) * share) == int(row * share) for row in rows]
    return table.append_column("keep", pa.array(kept, pa.bool_()))


def _dropped(keep: Keep, *, end: End, total: int) -> Fraction:
    """The share of rows that a filter drops; nothing to everything where scores decide."""
    match keep:
        case AboveMedian():
            return Fraction(1, 2)
        case Quantile():
            return Fraction(str(keep.quantile))
        case Count():
            return Fraction(max(total - keep.count, 0), max(total, 1))
        case _:
            return Fraction(0 if end == "low" else 1)
