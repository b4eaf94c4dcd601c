"""Filter: exact counts under ties, monotone thresholds, indifference to order."""

from __future__ import annotations

import asyncio
import json
import math
import random

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from clear_pipeline.stages.base import Context, Shard
from clear_pipeline.stages.filter import Filter
from clear_pipeline.stages.held import surveyed

Row = tuple[str, float, str]

rows_strategy = st.lists(
    st.tuples(st.floats(0, 1) | st.sampled_from([0.25, 0.5]), st.sampled_from("abcdef")),
    min_size=1,
    max_size=30,
).map(lambda rows: [(f"x:{i}", c, h) for i, (c, h) in enumerate(rows)])


def kept_ids(stage: Filter, rows: list[Row], *, cuts: int = 1) -> set[str]:
    """Run the stage over `cuts` shards, its state carried as JSON text as in a manifest."""
    columns = ("id", "confidence", "content_hash")
    shards = [
        Shard(
            str(i),
            pa.table(
                [*(list(c) for c in zip(*part, strict=True)), ["so"] * len(part)],
                names=[*columns, "response"],
            ),
        )
        for i in range(cuts)
        if (part := rows[i::cuts])
    ]
    held = [(s, [True] * s.rows) for s in shards]
    states = json.loads(json.dumps(surveyed(stage, held, Context())))
    kept: set[str] = set()
    for shard, state in zip(shards, states, strict=True):
        table = asyncio.run(stage.annotate(shard, [True] * shard.rows, state, Context()))
        ids = shard.table["id"].to_pylist()
        kept |= {i for i, keep in zip(ids, table["keep"].to_pylist(), strict=True) if keep}
    return kept


@given(rows_strategy, st.integers(1, 3))
def test_median_keeps_exactly_half_rounded_up(rows: list[Row], cuts: int) -> None:
    """However many rows tie, ceil(n / 2) stay, and none below one that goes."""
    kept = kept_ids(Filter(), rows, cuts=cuts)
    assert len(kept) == math.ceil(len(rows) / 2)
    gone = [c for i, c, _ in rows if i not in kept]
    assert min(c for i, c, _ in rows if i in kept) >= max(gone, default=0.0)


@given(rows_strategy, st.integers(0, 99), st.integers(0, 99))
def test_a_higher_quantile_keeps_a_subset(rows: list[Row], one: int, other: int) -> None:
    """Raising the threshold only ever removes rows."""
    low, high = sorted([one, other])
    more = kept_ids(Filter.model_validate({"keep": {"quantile": low / 100}}), rows)
    fewer = kept_ids(Filter.model_validate({"keep": {"quantile": high / 100}}), rows)
    assert fewer <= more
    assert len(more) == math.ceil((100 - low) * len(rows) / 100)


@given(rows_strategy, st.integers(1, 40))
def test_count_keeps_exactly_so_many(rows: list[Row], count: int) -> None:
    """A count is met exactly, or by all rows where there are fewer."""
    stage = Filter.model_validate({"keep": {"count": count}})
    assert len(kept_ids(stage, rows)) == min(count, len(rows))


@given(rows_strategy, st.randoms(use_true_random=False), st.integers(1, 3))
def test_order_and_sharding_do_not_matter(
    rows: list[Row], shuffler: random.Random, cuts: int
) -> None:
    """The same rows stay however they are ordered and cut."""
    shuffled = list(rows)
    shuffler.shuffle(shuffled)
    assert kept_ids(Filter(), shuffled, cuts=cuts) == kept_ids(Filter(), rows)
